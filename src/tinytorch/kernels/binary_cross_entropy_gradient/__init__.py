"""The ladder of binary_cross_entropy_gradient."""
