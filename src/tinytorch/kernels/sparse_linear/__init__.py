"""The ladder of sparse_linear."""
