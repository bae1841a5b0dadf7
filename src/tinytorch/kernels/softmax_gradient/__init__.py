"""The ladder of softmax_gradient."""
