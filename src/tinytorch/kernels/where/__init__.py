"""The ladder of where."""
