"""The command line of matchcut, which people use instead of curl."""
