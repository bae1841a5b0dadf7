"""The ladder of momentum."""
