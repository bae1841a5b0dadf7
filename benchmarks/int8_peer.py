"""A peer's dynamic INT8 linear, in a process of its own, run when told to: see int8.py.

Reads one JSON object a line: {"setup": {...}} makes the layer from .npy files and answers with
its largest difference from the float32 result; {"run": seconds} answers with samples, in seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def onnxruntime_layer(x: Any, w: Any, b: Any, activation: str, threads: int) -> Callable[[], Any]:
    """DynamicQuantizeLinear, MatMulInteger, scales, bias and Gelu, as ONNX Runtime fuses them."""
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    # NOTE: 7 bits, its `reduce_range`: without VNNI its sums of two products saturate with 8.
    scales = (np.abs(w).max(axis=0) / 63).astype(np.float32)
    codes = np.clip(np.rint(w / scales), -63, 63).astype(np.int8)
    arrays = {"w": codes, "scales": scales, "b": b, "zero": np.zeros(w.shape[1], np.int8)}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("MatMulInteger", ["xq", "w", "xz", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["xs", "scales"], ["both"]),
        helper.make_node("Mul", ["real", "both"], ["scaled"]),
        helper.make_node("Add", ["scaled", "b"], ["y" if activation == "none" else "z"]),
    ]
    if activation == "gelu":
        nodes.append(helper.make_node("Gelu", ["z"], ["y"], approximate="tanh"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "layer",
        [value("x", TensorProto.FLOAT, list(x.shape))],
        [value("y", TensorProto.FLOAT, [x.shape[0], w.shape[1]])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    out = np.empty((x.shape[0], w.shape[1]), np.float32)
    binding.bind_input("x", "cpu", 0, np.float32, x.shape, x.ctypes.data)
    binding.bind_output("y", "cpu", 0, np.float32, out.shape, out.ctypes.data)

    def call() -> Any:
        session.run_with_iobinding(binding)
        return out

    return call


def torch_layer(x: Any, w: Any, b: Any, activation: str, threads: int) -> Callable[[], Any]:
    """PyTorch's dynamically quantised Linear, then its GELU; it takes no output to write into."""
    import warnings

    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    linear = torch.nn.Linear(*w.shape)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(w.T.copy()))
        linear.bias.copy_(torch.from_numpy(b))
    qconfig = torch.ao.quantization.per_channel_dynamic_qconfig
    layer = torch.ao.quantization.quantize_dynamic(
        torch.nn.Sequential(linear), {torch.nn.Linear: qconfig}, dtype=torch.qint8
    )
    data = torch.from_numpy(x)

    def call() -> Any:
        with torch.inference_mode():
            y = layer(data)
            if activation == "gelu":
                y = torch.nn.functional.gelu(y, approximate="tanh")
        return y.numpy()

    return call


LAYERS = {"onnxruntime": onnxruntime_layer, "pytorch": torch_layer}


def _set_up(order: dict[str, Any]) -> tuple[Callable[[], Any], float]:
    folder = Path(order["folder"])
    x, w, b, expected = (np.load(folder / f"{name}.npy") for name in ("x", "w", "b", "y"))
    call = LAYERS[order["peer"]](x, w, b, order["activation"], order["threads"])
    return call, float(np.abs(call() - expected).max())


def _samples(call: Callable[[], Any], seconds: float) -> list[float]:
    samples, end = [], time.perf_counter() + seconds
    while not samples or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
    return samples


def main() -> None:
    """Do what is asked, line by line."""
    call: Callable[[], Any] | None = None
    for line in sys.stdin:
        order = json.loads(line)
        if "setup" in order:
            call, difference = _set_up(order["setup"])
            answer: Any = difference
        else:
            assert call is not None
            answer = _samples(call, order["run"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
