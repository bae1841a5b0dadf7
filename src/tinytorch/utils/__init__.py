"""tinytorch.utils: where PyTorch programs look for `data`."""
