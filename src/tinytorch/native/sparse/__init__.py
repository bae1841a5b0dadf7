"""Sparse products: the register tile, the loops around it, and the call from Python."""
