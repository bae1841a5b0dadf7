"""The ladder of loss_gradient."""
