"""ONNX Runtime: a model made with `onnx`, inputs and outputs bound to memory beforehand."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from peers import Absent, Run

Params = Mapping[str, Any]
_OPSET = 20
_threads = 1


def start(threads: int) -> str:
    """Keep the number of threads for the sessions."""
    global _threads
    import onnx  # noqa: F401  (models are made with it)
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    _threads = threads
    return str(onnxruntime.__version__)


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    known: Mapping[str, Any] | None = None,
    opset: int = _OPSET,
) -> bytes:
    """Return a model of nodes; `inputs` and `outputs` are examples, `known` its constants."""
    from onnx import TensorProto, helper, numpy_helper

    def info(name: str, array: Any) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype)
        return helper.make_tensor_value_info(name, kind or TensorProto.FLOAT, np.shape(array))

    graph = helper.make_graph(
        list(nodes),
        "case",
        [info(*item) for item in inputs.items()],
        [info(*item) for item in outputs.items()],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (known or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 10 if opset <= _OPSET else 11
    return bytes(made.SerializeToString())


def bound(
    made: bytes, inputs: Mapping[str, Any], outputs: Mapping[str, Any], note: str = ""
) -> Run:
    """Return a call of a model on inputs, into outputs of its own."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = _threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(made, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(np.asarray(array)))
    values = []
    for name, array in outputs.items():
        value = ort.OrtValue.ortvalue_from_shape_and_type(list(np.shape(array)), array.dtype)
        binding.bind_ortvalue_output(name, value)
        values.append(value)

    def check() -> Any:
        session.run_with_iobinding(binding)
        return tuple(value.numpy() for value in values)

    return Run(functools.partial(session.run_with_iobinding, binding), True, note, check)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """Return a node whose inputs and outputs are names between blanks."""
    from onnx import helper

    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def matmul(params: Params, a: Any, b: Any) -> Run:
    """Return a product of two inputs."""
    out = np.empty((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))
    given, made = {"a": a, "b": b}, {"y": out.astype(a.dtype)}
    return bound(model([node("MatMul", "a b", "y")], given, made), given, made)


def linear(params: Params, x: Any, w: Any, b: Any) -> Run:
    """Return a layer with its weight as a constant, which ONNX Runtime packs beforehand."""
    nodes = [node("MatMul", "x w", "p"), node("Add", "p b", "z")]
    activation = params["activation"]
    if activation == "gelu":
        nodes.append(node("Gelu", "z", "y", approximate="tanh"))
    else:
        nodes.append(node("Relu" if activation == "relu" else "Identity", "z", "y"))
    made = {"y": np.empty((x.shape[0], w.shape[1]), np.float32)}
    return bound(model(nodes, {"x": x}, made, {"w": w, "b": b}), {"x": x}, made, "packed weight")


def _elementwise(name: str, arrays: tuple[Any, ...]) -> tuple[list[Any], Any, dict[str, Any]]:
    """Return a program's nodes, the shape of its output, and its constants."""
    x = arrays[0]
    nodes: dict[str, list[Any]] = {
        "gelu tanh": [node("Gelu", "a0", "y", approximate="tanh")],
        "gelu erf": [node("Gelu", "a0", "y")],
        "silu": [node("Sigmoid", "a0", "s"), node("Mul", "a0 s", "y")],
        "swiglu": [
            node("Sigmoid", "a1", "s"),
            node("Mul", "a1 s", "t"),
            node("Mul", "t a0", "y"),
        ],
        "softmax": [node("Softmax", "a0", "y", axis=-1)],
        "log-softmax": [node("LogSoftmax", "a0", "y", axis=-1)],
        "layer norm": [node("LayerNormalization", "a0 a1 a2", "y", axis=-1, epsilon=1e-5)],
    }
    if name not in nodes:
        raise Absent("only programs that ONNX has operators for are asked of it")
    return nodes[name], np.empty_like(x), {}


def program(params: Params, *arrays: Any) -> Run:
    """Return one of the programs."""
    nodes, out, known = _elementwise(params["program"], arrays)
    given = {f"a{i}": array for i, array in enumerate(arrays)}
    return bound(model(nodes, given, {"y": out}, known), given, {"y": out})


def attention(params: Params, q: Any, k: Any, v: Any) -> Run:
    """Return the standard Attention operator on (batch, heads, tokens, width)."""
    given, made = {"q": q, "k": k, "v": v}, {"y": np.empty_like(q)}
    nodes = [node("Attention", "q k v", "y", is_causal=int(params["causal"]))]
    return bound(model(nodes, given, made, opset=23), given, made)


def conv2d(params: Params, x: Any, w: Any, b: Any) -> Run:
    """Return a convolution with constant weights, which ONNX Runtime packs beforehand."""
    step, edge = params["stride"], params["padding"]
    rows, columns = (1 + (x.shape[i] + 2 * edge - w.shape[i]) // step for i in (2, 3))
    made = {"y": np.empty((x.shape[0], w.shape[0], rows, columns), np.float32)}
    nodes = [node("Conv", "x w b", "y", strides=[step] * 2, pads=[edge] * 4)]
    known = {"w": w, "b": b}
    return bound(model(nodes, {"x": x}, made, known), {"x": x}, made, "packed weight")


def quantized_linear(params: Params, x: Any, w: Any, b: Any) -> Run:
    """Return the graph that its dynamic quantisation makes, with GELU where asked.

    Weights are INT8 for each output channel, in 7 bits: where the CPU's 8-bit products may
    saturate, its guide tells to reduce the range, and elsewhere that costs no time.
    """
    scale = np.abs(w).max(0) / 63
    known = {
        "codes": np.rint(w / scale).astype(np.int8),
        "ws": scale.astype(np.float32),
        "b": b,
    }
    nodes = [
        node("DynamicQuantizeLinear", "x", "xq xs xz"),
        node("MatMulInteger", "xq codes xz", "sums"),
        node("Cast", "sums", "p", to=1),
        node("Mul", "xs ws", "s"),
        node("Mul", "p s", "m"),
        node("Add", "m b", "z"),
    ]
    if params["activation"] == "gelu":
        nodes.append(node("Gelu", "z", "y", approximate="tanh"))
    else:
        nodes.append(node("Identity", "z", "y"))
    made = {"y": np.empty((x.shape[0], w.shape[1]), np.float32)}
    return bound(model(nodes, {"x": x}, made, known), {"x": x}, made, "packed weight")


def encoder(params: Params, ids: Any, mask: Any, variant: str = "") -> Run:
    """Return a pretrained encoder."""
    from peers import onnx_models

    return onnx_models.encoder(params, ids, mask, threads=_threads, variant=variant)


MAKERS = {
    "encoder": encoder,
    "matmul": matmul,
    "linear": linear,
    "program": program,
    "attention": attention,
    "conv2d": conv2d,
    "quantized_linear": quantized_linear,
}
ABSENT = {"conv2d_backward": "is asked for inference only"}
