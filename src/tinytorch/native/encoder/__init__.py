"""A whole encoder as compiled code: no Python between its layers, no batch-sized scratch."""
