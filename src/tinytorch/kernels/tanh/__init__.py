"""The ladder of tanh."""
