"""The ladder of quantized_linear."""
