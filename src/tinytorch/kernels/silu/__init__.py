"""The ladder of silu."""
