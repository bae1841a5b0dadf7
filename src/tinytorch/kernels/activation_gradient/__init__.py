"""The ladder of activation_gradient."""
