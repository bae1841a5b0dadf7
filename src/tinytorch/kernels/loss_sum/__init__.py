"""The ladder of loss_sum."""
