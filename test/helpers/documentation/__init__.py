"""The documentation as tests read it, and recordings that stand in for those it names."""
