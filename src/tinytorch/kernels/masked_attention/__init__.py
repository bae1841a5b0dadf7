"""The ladder of masked_attention."""
