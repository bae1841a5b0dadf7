"""Attention in machine code: scores, online softmax and weighted sums, tile by tile."""
