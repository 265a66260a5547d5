"""Command line programs, one a file."""
