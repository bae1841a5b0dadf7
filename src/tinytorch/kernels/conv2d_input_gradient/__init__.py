"""The ladder of conv2d_input_gradient."""
