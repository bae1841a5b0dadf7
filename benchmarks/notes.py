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
    "sparse": {
        "": "GFLOP/s count what is not zero. SciPy runs on one thread and makes an output in every "
        "call, and so does PyTorch; both are given the weight turned, (outputs, inputs), and the "
        "activations likewise, as suits them. Single weights (CSR) each load their input's tokens "
        "from the second cache and use them once: that cache, and not arithmetic, binds them, at a "
        "third or so of the dense product's speed. A block's four outputs share each load. "
        "`tito bench sparse` finds the share of zeros from which a format beats dense.",
    },
    "int8": {
        "": "Ours takes one scale for each row of activations, the peers one for all of them. On a "
        "CPU without INT8 dot products (VNNI), codes are multiplied in pairs, added in int16 and "
        "widened: several instructions that share the ports of the one that float32 takes. The "
        "peak beside ours is that of those instructions in registers; it, and not four times "
        "float32, is the ceiling there.",
    },
}
