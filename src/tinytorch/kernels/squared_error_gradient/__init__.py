"""The ladder of squared_error_gradient."""
