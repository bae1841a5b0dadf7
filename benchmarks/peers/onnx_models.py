"""A pretrained encoder in ONNX: exported by PyTorch, fused by ONNX Runtime's own optimizer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bert
import numpy as np

from peers import Absent, Run

Params = Mapping[str, Any]

# Runs in a process of its own: what PyTorch allocates while it exports is not ONNX Runtime's.
_EXPORT = """
import sys, torch, transformers
from onnxruntime.transformers import optimizer
from onnxruntime.quantization import QuantType, quantize_dynamic
folder, heads, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = transformers.BertModel.from_pretrained(folder, attn_implementation="sdpa").eval()
class States(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model
    def forward(self, ids, mask):
        return self.model(input_ids=ids, attention_mask=mask).last_hidden_state
ids, mask = torch.randint(1, 1000, (2, 16)), torch.ones(2, 16, dtype=torch.long)
axes = {name: {0: "b", 1: "t"} for name in ("ids", "mask", "states")}
torch.onnx.export(States(), (ids, mask), "plain.onnx", input_names=["ids", "mask"],
                  output_names=["states"], dynamic_axes=axes, opset_version=18, dynamo=False)
fused = optimizer.optimize_model("plain.onnx", model_type="bert", num_heads=heads,
                                 hidden_size=width)
fused.save_model_to_file("fused.onnx")
float32 = 1
quantize_dynamic("fused.onnx", "int8.onnx", weight_type=QuantType.QInt8,
                 extra_options={"DefaultTensorType": float32})
"""


def exported(folder: Path) -> None:
    """Write fused.onnx and int8.onnx into the current folder, unless they are there."""
    if Path("int8.onnx").is_file():
        return
    config = json.loads((folder / "config.json").read_text())
    sizes = (str(config[name]) for name in ("num_attention_heads", "hidden_size"))
    command = [sys.executable, "-c", _EXPORT, str(folder), *sizes]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:]
        raise Absent(f"the model could not be exported: {''.join(said)[:200]}")


def _session(path: str, threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def loaded(precision: str, threads: int) -> Any:
    """Return a session of the model that was exported into the current folder."""
    return _session("int8.onnx" if precision == "int8" else "fused.onnx", threads)


def pooled(session: Any, ids: Any, mask: Any) -> Any:
    """Return the embeddings of padded ids."""
    return bert.pooled(session.run(["states"], {"ids": ids, "mask": mask})[0], mask)


def encoder(params: Params, ids: Any, mask: Any, *, threads: int, variant: str = "") -> Run:
    """Return the hidden states in float32, or from its dynamic INT8 model."""
    exported(Path(params["folder"]))
    given = {"ids": ids, "mask": mask}
    session = loaded("int8" if variant else "float32", threads)
    note = "fused by its optimizer"
    if variant:
        exact = pooled(loaded("float32", threads), ids, mask)
        worst = float(np.sum(exact * pooled(session, ids, mask), axis=1).min())
        note = f"dynamic INT8, cosine to float32 {worst:.2f} at least"
    check = lambda: pooled(session, ids, mask)  # noqa: E731
    return Run(lambda: session.run(["states"], given), False, note, check=check)
