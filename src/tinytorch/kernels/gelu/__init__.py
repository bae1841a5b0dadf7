"""The ladder of gelu."""
