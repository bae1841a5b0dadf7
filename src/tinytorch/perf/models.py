"""What the optimisation modules need to know of a model, whatever its class.

A model is anything that can be called, or has `forward`; its parameters are what `parameters()`
returns, or its `weight` and `bias`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array, Shape

MIB = 1 << 20
_INPUT_SEED = 0


def parameters_of(model: Any) -> list[Any]:
    """Return a model's parameters, each once; none where it has none."""
    if isinstance(model, Tensor | np.ndarray):
        return []
    given = getattr(model, "parameters", None)
    if callable(given):
        found = list(given())
    else:
        held = (getattr(model, name, None) for name in ("weight", "bias"))
        found = [tensor for tensor in held if tensor is not None]
    return list({id(tensor): tensor for tensor in found}.values())


def array_in(tensor: Any) -> Array:
    """Return the ndarray that a parameter, Tensor or array holds."""
    if isinstance(tensor, np.ndarray | np.generic):
        return np.asarray(tensor)
    return np.asarray(getattr(tensor, "data", tensor))


def parameter_count(model: Any) -> int:
    """Return how many numbers a model's parameters are."""
    return sum(int(array_in(p).size) for p in parameters_of(model))


def parameter_bytes(model: Any) -> int:
    """Return the bytes that a model keeps for its parameters, codes and scales included."""
    sizes = [_held_bytes(layer) for layer in layers_of(model)]
    return sum(sizes) if any(sizes) else sum(array_in(p).nbytes for p in parameters_of(model))


def _held_bytes(layer: Any) -> int:
    usage = getattr(layer, "memory_usage", None)
    if callable(usage):
        return int(usage()["quantized_bytes"])
    return sum(array_in(p).nbytes for p in parameters_of(layer))


def children_of(layer: Any) -> list[tuple[str, Any]]:
    """Return a layer's own layers by name: those of `layers`, or its attributes that are layers."""
    held = getattr(layer, "layers", None)
    if isinstance(held, list | tuple):
        return [(f"layers.{i}", child) for i, child in enumerate(held)]
    found: list[tuple[str, Any]] = []
    for name, value in getattr(layer, "__dict__", {}).items():
        if is_layer(value):
            found.append((name, value))
        elif isinstance(value, list | tuple):
            found += [(f"{name}.{i}", v) for i, v in enumerate(value) if is_layer(v)]
    return found


def is_layer(value: Any) -> bool:
    """Say whether a value is a layer: it has `forward` and is no class."""
    return callable(getattr(value, "forward", None)) and not isinstance(value, type)


def named_layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the layers without layers of their own, each once, by the path that leads to them."""
    yield from _leaves(model, prefix, set())


def _leaves(model: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(model) in seen:
        return
    seen.add(id(model))
    children = children_of(model)
    if not children:
        yield prefix, model
    for name, child in children:
        yield from _leaves(child, f"{prefix}.{name}" if prefix else name, seen)


def layers_of(model: Any) -> list[Any]:
    """Return the layers without layers of their own, in order."""
    return [layer for _, layer in named_layers(model)]


def replace_layer(model: Any, path: str, layer: Any) -> None:
    """Put another layer where a path of `named_layers` leads."""
    *parents, last = path.split(".")
    holder = model
    for part in parents:
        holder = holder[int(part)] if part.isdigit() else getattr(holder, part)
    if last.isdigit():
        if isinstance(holder, tuple):
            raise InvalidValue(f"{path} is in a tuple and can't be replaced: keep layers in a list")
        holder[int(last)] = layer
    else:
        setattr(holder, last, layer)


def name_of(model: Any, position: int = 0) -> str:
    """Return a model's own `name`, or one made of its place in a list."""
    name = getattr(model, "name", None)
    return name if isinstance(name, str) and name else f"model_{position}"


def run(model: Any, x: Any) -> Any:
    """Call a model; raises InvalidValue for what can't be called."""
    if callable(model):
        return model(x)
    forward = getattr(model, "forward", None)
    if not callable(forward):
        raise InvalidValue(
            f"a model must be callable or have forward(x), and a {type(model).__name__} is neither"
        )
    return forward(x)


def checked_shape(shape: Any) -> Shape:
    """Return a shape as a tuple of ints; raises InvalidValue or ShapeError."""
    sizes = (shape,) if isinstance(shape, int) else shape
    if not isinstance(sizes, Sequence) or isinstance(sizes, str):
        raise InvalidValue(f"a shape is a tuple of ints, got {shape!r}")
    for n in sizes:
        if not hasattr(n, "__index__") or isinstance(n, bool) or n < 1:
            raise ShapeError(f"each size of an input shape must be an int of at least 1: {shape!r}")
    return tuple(int(n) for n in sizes)


def takes_tokens(model: Any) -> int | None:
    """Return the vocabulary size where a model's first layer looks tokens up, else None."""
    for holder in (model, next(iter(layers_of(model)), None)):
        size = getattr(holder, "vocab_size", None)
        if isinstance(size, int):
            return size
    return None


def natural_shape(model: Any) -> Shape | None:
    """Return the shape of one sample where the first layer's weight (in, out) says it."""
    first = next(iter(layers_of(model)), None)
    sizes: Shape = getattr(getattr(first, "weight", None), "shape", ())
    return (1, int(sizes[0])) if len(sizes) == 2 and takes_tokens(model) is None else None


def input_for(model: Any, shape: Any, seed: int = _INPUT_SEED) -> Tensor:
    """Return an input of a shape: standard normal, or tokens where the model takes those."""
    rng, sizes = np.random.default_rng(seed), checked_shape(shape)
    vocabulary = takes_tokens(model)
    if vocabulary is not None:
        return Tensor(rng.integers(0, vocabulary, sizes), dtype=np.int64)
    return Tensor(rng.standard_normal(sizes, np.float32))
