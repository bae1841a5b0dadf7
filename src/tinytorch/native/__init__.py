"""Python to machine code: vector intrinsics, vector math, thread pools and the code cache."""
