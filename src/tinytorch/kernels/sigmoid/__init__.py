"""The ladder of sigmoid."""
