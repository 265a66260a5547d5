"""A CUDA runtime and TensorRT libraries that check how they are called."""
