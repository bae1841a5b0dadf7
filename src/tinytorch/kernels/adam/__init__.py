"""The ladder of adam."""
