"""Layer: what has parameters, modes and a state, and knows its parts without being told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from tinytorch.core import writes
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array


def _named(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the Tensors and Layers in an attribute: itself, or within lists, tuples and dicts."""
    if isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _named(item, f"{name}.{i}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _named(item, f"{name}.{key}")
    else:
        yield name, value


class Layer:
    """A part of a model. A subclass defines `forward`; its attributes are looked through for parts.

    Every Tensor attribute with `requires_grad` is a parameter, every Layer attribute a part, also
    within lists, tuples and dicts. `__init__` need not be called.
    """

    training: bool = True
    buffers: ClassVar[tuple[str, ...]] = ()  # ndarray attributes that belong to the state

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output: the same as `forward`."""
        return self.forward(*inputs, **options)

    def __repr__(self) -> str:
        parts = [f"  ({name}): {part!r}" for name, part in self._children()]
        inside = "\n".join(part.replace("\n", "\n  ") for part in parts)
        return f"{type(self).__name__}(\n{inside}\n)" if inside else f"{type(self).__name__}()"

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        for name, value in vars(self).items():
            yield from _named(value, name)

    def _children(self) -> Iterator[tuple[str, Any]]:
        """Yield what has parameters of its own: Layers, and other models."""
        for name, value in self._attributes():
            if isinstance(value, Layer) or (
                not isinstance(value, Tensor | type)
                and callable(getattr(value, "parameters", None))
            ):
                yield name, value

    def _trainable(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.requires_grad and value.is_leaf

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each parameter once, with the path of attributes that leads to it."""
        seen: set[int] = set()
        for name, tensor in self._walk(""):
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield name, tensor

    def _walk(self, prefix: str) -> Iterator[tuple[str, Tensor]]:
        for name, value in self._attributes():
            if self._trainable(value):
                yield prefix + name, value
            elif isinstance(value, Layer):
                yield from value._walk(f"{prefix}{name}.")
            elif not isinstance(value, Tensor | type) and callable(
                getattr(value, "parameters", None)
            ):
                for i, tensor in enumerate(value.parameters()):
                    yield f"{prefix}{name}.{i}", tensor

    def parameters(self) -> list[Tensor]:
        """Return the parameters, each once."""
        return [tensor for _, tensor in self.named_parameters()]

    def modules(self) -> Iterator[Layer]:
        """Yield this Layer and every Layer below it."""
        yield self
        for _, value in self._attributes():
            if isinstance(value, Layer):
                yield from value.modules()

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for tensor in self.parameters():
            tensor.grad = None

    # Modes ----------------------------------------------------------------------------------------
    def train(self, mode: bool = True) -> Any:
        """Behave as in training (dropout drops, batch norm uses the batch); return the Layer."""
        for layer in self.modules():
            layer.training = mode
        return self

    def eval(self) -> Any:
        """Behave as in use; return the Layer."""
        return self.train(False)

    # State ----------------------------------------------------------------------------------------
    def _state(self) -> Iterator[tuple[str, Any, str | None]]:
        """Yield name, holder and attribute: None where the holder is the parameter itself."""
        for name, tensor in self.named_parameters():
            yield name, tensor, None
        yield from self._buffers("")

    def _buffers(self, prefix: str) -> Iterator[tuple[str, Any, str | None]]:
        for name in self.buffers:
            yield prefix + name, self, name
        for name, value in self._attributes():
            if isinstance(value, Layer):
                yield from value._buffers(f"{prefix}{name}.")

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers by name."""
        return {
            name: np.array(holder._data if attribute is None else getattr(holder, attribute))
            for name, holder, attribute in self._state()
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy parameters and buffers from a dict of arrays or Tensors.

        Nothing is changed unless all of it fits. Raises InvalidValue for missing or unknown names
        (unless `strict=False`), ShapeError for a shape that differs.
        """
        places = {name: (holder, attribute) for name, holder, attribute in self._state()}
        missing, unknown = places.keys() - state.keys(), state.keys() - places.keys()
        if strict and (missing or unknown):
            raise InvalidValue(
                f"the state does not fit {type(self).__name__}: missing {sorted(missing)}, "
                f"unknown {sorted(unknown)}; strict=False takes what fits"
            )
        ready = []
        for name in places.keys() & state.keys():
            holder, attribute = places[name]
            target = holder._data if attribute is None else getattr(holder, attribute)
            array = np.asarray(getattr(state[name], "_data", state[name]))
            if array.shape != target.shape:
                raise ShapeError(f"{name} has shape {target.shape}, the state has {array.shape}")
            ready.append((target, array))
        for target, array in ready:
            target[...] = array
            writes.mark(target)

    def save(self, path: Any) -> None:
        """Write the state to a safetensors file, whole or not at all."""
        from tinytorch.core import safetensors

        safetensors.save(path, self.state_dict())

    def load(self, path: Any) -> None:
        """Read the state from a safetensors file; a damaged one changes nothing."""
        from tinytorch.core import safetensors

        self.load_state_dict(safetensors.load(path)[0])


Module = Layer
