"""A step of a decoder as one compiled call: the next logits from a token and a cache."""
