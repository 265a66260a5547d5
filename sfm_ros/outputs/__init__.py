"""Folders that programs write: whose files they hold, and whether they are complete."""
