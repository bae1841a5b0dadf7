"""The ladder of multiply."""
