"""The command line of matchcut: what a person uses instead of curl."""
