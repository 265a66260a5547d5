"""Programs beside the node: player, recorders, static transform, ground-truth path."""
