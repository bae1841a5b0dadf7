"""The ladder of batch_norm_gradient."""
