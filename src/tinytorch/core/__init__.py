"""The framework: what a TinyTorch program imports."""
