"""The ladder of gelu_gradient."""
