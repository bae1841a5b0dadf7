"""The ladder of cross_entropy_gradient."""
