"""Matrix products in machine code: micro-kernel, packing, blocking, threads, epilogues."""
