"""Programs that write output folders, whole, shortened or killed, and what they leave."""
