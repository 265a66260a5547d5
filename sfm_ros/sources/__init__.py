"""Where frames come from when no middleware delivers them."""
