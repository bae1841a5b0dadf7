"""What limits a case, or how to read a group, said by hand beside the tables of the page.

By group, then by case; "" stands for the whole group. Times and ratios are in the tables, and so
not here.
"""

from __future__ import annotations

from collections.abc import Mapping

NOTES: Mapping[str, Mapping[str, str]] = {
    "fused": {
        "": "NumPy has no erf, and is given ours. JAX and compiled PyTorch can't be given an "
        "output, and a fresh one of 16 MiB comes from the system page by page.",
        "Adam step": "PyTorch's is the fused step of its optimizer, which updates in place: four "
        "arrays read and three of them written where they lie, while ours and the others write "
        "three arrays that they do not read.",
    },
    "linear": {
        "": "ONNX Runtime gets the weight as a constant and packs it once; ours, like PyTorch's "
        "and NumPy's, packs it in every call.",
    },
    "small": {
        "": "What is left to gain is Python's: checking a call, finding its plan and entering the "
        "pool take as long as the narrow products themselves.",
    },
    "int8": {
        "": "Ours takes one scale for each row of activations, the peers one for all of them. On a "
        "CPU without INT8 dot products (VNNI), codes are multiplied in pairs, added in int16 and "
        "widened: several instructions that share the ports of the one that float32 takes. The "
        "peak beside ours is that of those instructions in registers; it, and not four times "
        "float32, is the ceiling there.",
    },
    "minilm": {
        "": "Ours runs all layers in one compiled call. Three ways were held against each other "
        "on a Zen 3 with 2 threads, at 1x16, 1x128, 8x128 and 32x128 tokens: one call for "
        "each op (9.7, 33, 228 and 820 ms); shares of rows that meet once a layer, or not "
        "at all where they are whole sequences (6.4, 22, 170 and 715 ms); and, for few "
        "rows, shares of the columns of each weight that meet after each product (4.2 ms at "
        "1x16, where each thread otherwise reads all 42 MB of weights). What is left is the "
        "products' own speed: 85 to 90 GFLOP/s a core, of the 95 that the micro-kernel "
        "reaches on blocks in the second cache.",
    },
    "minilm8": {
        "": "Codes of activations have 7 bits where the CPU lacks INT8 dot products (VNNI), for "
        "8 bits would need 16-bit products, of half as many numbers each. So that 7 bits "
        "are enough, each channel is divided by a factor that evens them out. Three ways "
        "were tried on a Zen 3, at 1x16, 8x128 and 32x128: one call for each op with "
        "queries, keys and values in float32 and the rest in 8 bits (10, 174 and 650 ms); "
        "the same products in compiled layers (3.9, 155 and 576 ms); and all products in "
        "evened 7 bits (2.8, 113 and 440 ms). The loop of INT8 instructions in registers "
        "does 330 to 380 GFLOP/s there (the peak in the table of INT8 layers): at 8x128 the "
        "products alone take 60 ms at that speed, and attention in float32 another 7. 1.8 "
        "times ONNX Runtime's INT8 would be some 92 ms, three quarters of what the "
        "instructions could do if softmax, norms, GELU and rounding cost nothing.",
    },
    "generation": {
        "": "A step is one compiled call on keys and values where they lie, the threads sharing "
        "the columns of the weights. Before, a step was some sixty calls of ops from "
        "Python, and took twice PyTorch's time.",
    },
}
