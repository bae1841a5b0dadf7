"""The ladder of attention_and_logs."""
