"""The ladder of elementary."""
