"""The documentation as tests read it, the scripts that draw it, and recordings it can name."""
