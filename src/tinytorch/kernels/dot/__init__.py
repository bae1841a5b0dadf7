"""The ladder of dot."""
