"""For the tests of the node: cameras, nodes, probes and programs on the real middleware."""
