"""Which camera an image is of."""
