"""Small programs beside the node: player, recorders, ground truth path."""
