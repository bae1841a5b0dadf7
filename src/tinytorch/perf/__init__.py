"""The optimisation modules, under their historical names."""
