"""From recordings to prepared sets."""
