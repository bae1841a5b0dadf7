"""The ladder of log_softmax."""
