"""The ladder of log_softmax_gradient."""
