"""What the node checks about the programs around it, once a second; it logs each fault once."""
