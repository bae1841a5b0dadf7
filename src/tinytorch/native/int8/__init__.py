"""INT8 products in machine code: dot products, register tiles, packing, codes of rows, epilogue."""
