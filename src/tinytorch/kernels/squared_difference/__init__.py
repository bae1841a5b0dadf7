"""The ladder of squared_difference."""
