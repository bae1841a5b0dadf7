"""Convolutions in machine code: products whose right operand is gathered from images."""
