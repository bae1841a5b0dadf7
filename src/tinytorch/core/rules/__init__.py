"""The rules: one class an operation, its forward and its backward side by side."""
