"""The ladder of attention_gradient."""
