"""The ladder of attention."""
