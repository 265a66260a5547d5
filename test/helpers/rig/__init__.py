"""A camera, a node and what they exchange over the real middleware, for the tests of the node."""
