"""The ladder of silu_gradient."""
