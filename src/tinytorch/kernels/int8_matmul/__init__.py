"""The ladder of int8_matmul."""
