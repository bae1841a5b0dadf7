"""The ladder of masked_attention_and_logs."""
