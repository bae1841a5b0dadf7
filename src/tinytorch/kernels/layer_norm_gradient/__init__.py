"""The ladder of layer_norm_gradient."""
