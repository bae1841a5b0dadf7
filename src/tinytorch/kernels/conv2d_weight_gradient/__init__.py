"""The ladder of conv2d_weight_gradient."""
