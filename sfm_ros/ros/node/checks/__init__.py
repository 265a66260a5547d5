"""What the node checks about the programs around it, once a second, and says once."""
