"""From folders of recordings to a model bundle."""
