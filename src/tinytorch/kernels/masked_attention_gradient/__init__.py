"""The ladder of masked_attention_gradient."""
