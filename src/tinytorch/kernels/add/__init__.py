"""The ladder of add."""
