"""What a file of a stranger, or a library that does not return, must not be able to do."""
