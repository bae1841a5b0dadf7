"""The ladder of squared_error."""
