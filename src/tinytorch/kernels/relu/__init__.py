"""The ladder of relu."""
