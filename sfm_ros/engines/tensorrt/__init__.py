"""TensorRT and CUDA, without torch: the device, the library, building, running."""
