"""SGD, Adam and AdamW: how a gradient becomes a step. Formulas as in PyTorch.

Parameters are updated in place, in memory that is the optimizer's own: at its first step it copies
them, so that an array a Tensor was made from stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinytorch.core import compute, writes
from tinytorch.core.joined import Joined
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array


def _checked(value: Any, name: str, low: float, below: float = math.inf) -> float:
    """Return a hyper-parameter as a float; raises InvalidValue unless low <= value < below."""
    number = float(value) if isinstance(value, int | float | np.number) else math.nan
    if isinstance(value, bool) or not low <= number < below:
        limits = f"at least {low}" + (f" and below {below}" if below < math.inf else "")
        raise InvalidValue(f"{name} must be a number of {limits}, got {value!r}")
    return number


class Optimizer:
    """What optimizers share: their parameters, and a count of their steps."""

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        """Keep each parameter once. Raises InvalidValue for what is no Tensor, or no Tensors."""
        if isinstance(params, Tensor):
            raise InvalidValue("an optimizer takes a list of Tensors, got one Tensor: use [tensor]")
        given = list(params)
        for p in given:
            if not isinstance(p, Tensor):
                raise InvalidValue(f"an optimizer takes Tensors, got {type(p).__name__}")
        if not given:
            raise InvalidValue("an optimizer needs at least one parameter, got none")
        self.params: list[Tensor] = list({id(p): p for p in given}.values())
        self.lr = _checked(lr, "lr", 0.0)
        self.weight_decay = _checked(weight_decay, "weight_decay", 0.0)
        self.step_count = 0
        self._owned: list[Array | None] = [None] * len(self.params)
        self._small = Joined(self.params)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient; small ones together, as one array."""
        self.step_count += 1
        single: Iterable[int] = range(len(self.params))
        if self._joins() and self._small.ready():
            self._step_together()
            single = self._small.others
        kept = self._kept()
        for i in single:
            p = self.params[i]
            if p.grad is None:
                continue
            data = self._memory(i, p)
            for arrays in kept:
                if arrays[i] is None:
                    arrays[i] = np.zeros_like(data)
            self._update(data, _gradient(p), [arrays[i] for arrays in kept])
            writes.mark(data)

    def _joins(self) -> bool:
        """Say whether a call for a small parameter costs more than to gather its gradient."""
        return True

    def _step_together(self) -> None:
        small = self._small
        data: list[Array | None] = [p._data for p in self.params]
        block = small.block("data", data)
        for i in small.numbers:
            self.params[i]._data = self._owned[i] = data[i]  # type: ignore[assignment]
        kept = [small.block(n, arrays) for n, arrays in enumerate(self._kept())]
        self._update(
            block, small.gathered([_gradient(self.params[i]) for i in small.numbers]), kept
        )
        writes.mark(block)

    def _memory(self, i: int, p: Tensor) -> Array:
        """Return the parameter's array, which is the optimizer's own from the first step on."""
        data = p._data
        if self._owned[i] is not data:
            data = p._data = self._owned[i] = np.array(data, order="C")
        return data

    def _kept(self) -> tuple[list[Array | None], ...]:
        """Return what is kept from step to step, an array of its size for each parameter."""
        return ()

    def _update(self, p: Array, grad: Array, kept: list[Any]) -> None:
        """Write p, and what is kept for it (zeros at first), element by element."""
        raise NotImplementedError(f"{type(self).__name__} must define _update")

    # State ----------------------------------------------------------------------------------------
    def has_momentum(self) -> bool:
        """Say whether a velocity is kept for each parameter."""
        return False

    def get_momentum_state(self) -> list[Array | None] | None:
        """Return copies of the velocities (None before the first step), or None without any."""
        return None

    def set_momentum_state(self, state: list[Any] | None) -> None:
        """Put velocities back; raises InvalidValue where there are none to put."""
        if state is not None:
            raise InvalidValue(f"{type(self).__name__} keeps no momentum, and was given some")

    def _moments(self) -> dict[str, list[Array | None]]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return the settings, the step count and copies of the moments."""
        moments = {
            f"{name}.{i}": array.copy()
            for name, arrays in self._moments().items()
            for i, array in enumerate(arrays)
            if array is not None
        }
        return {"lr": self.lr, "step_count": self.step_count, "moments": moments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put a state back; nothing is changed unless all of it fits."""
        moments = self._moments()
        ready = []
        for key, array in state["moments"].items():
            name, _, number = key.partition(".")
            if name not in moments or not number.isdigit() or int(number) >= len(self.params):
                raise InvalidValue(f"{type(self).__name__} has no place for the moment {key!r}")
            if np.shape(array) != self.params[int(number)].shape:
                raise ShapeError(
                    f"moment {key} has shape {np.shape(array)}, its parameter has "
                    f"{self.params[int(number)].shape}"
                )
            ready.append((moments[name], int(number), np.array(array)))
        for arrays in moments.values():
            arrays[:] = [None] * len(arrays)
        for arrays, i, array in ready:
            arrays[i] = array
        self.lr, self.step_count = float(state["lr"]), int(state["step_count"])


def _gradient(p: Tensor) -> Array:
    data, grad = p._data, p.grad
    if grad.__class__ is not np.ndarray or grad.dtype is not data.dtype:
        grad = np.asarray(getattr(grad, "_data", grad), data.dtype)
    if grad.shape != data.shape:
        raise ShapeError(f"a parameter of shape {p.shape} has a gradient of shape {grad.shape}")
    return grad


class SGD(Optimizer):
    """v = momentum v + g + weight_decay p; p = p - lr v."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        """Keep the settings. Raises InvalidValue for what no step could be taken with."""
        super().__init__(params, lr, weight_decay)
        self.momentum = _checked(momentum, "momentum", 0.0, 1.0)
        self._velocity: list[Array | None] = [None] * len(self.params)

    def _kept(self) -> tuple[list[Array | None], ...]:
        return (self._velocity,) if self.momentum else ()

    def _joins(self) -> bool:
        return self.momentum > 0

    def _update(self, p: Array, grad: Array, kept: list[Any]) -> None:
        settings = {"lr": float(self.lr), "weight_decay": self.weight_decay}
        if kept:
            compute.sgd(p, grad, kept[0], settings | {"momentum": self.momentum})
        else:
            compute.sgd(p, grad, None, settings)

    def has_momentum(self) -> bool:
        """Say whether a velocity is kept for each parameter."""
        return self.momentum > 0

    def get_momentum_state(self) -> list[Array | None] | None:
        """Return copies of the velocities (None before a step), or None without momentum."""
        if not self.has_momentum():
            return None
        return [None if v is None else v.copy() for v in self._velocity]

    def set_momentum_state(self, state: list[Any] | None) -> None:
        """Put velocities back. Raises InvalidValue or ShapeError where they do not fit."""
        if state is None:
            return
        if not self.has_momentum() or len(state) != len(self.params):
            raise InvalidValue(
                f"momentum of {self.momentum} for {len(self.params)} parameters, and a state of "
                f"{len(state)} velocities"
            )
        ready = [
            None if v is None else np.array(v, p.dtype)
            for v, p in zip(state, self.params, strict=True)
        ]
        for v, p in zip(ready, self.params, strict=True):
            if v is not None and v.shape != p.shape:
                raise ShapeError(f"a velocity of shape {v.shape} for a parameter of {p.shape}")
        self._velocity = ready

    def _moments(self) -> dict[str, list[Array | None]]:
        return {"velocity": self._velocity}


class Adam(Optimizer):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p = p - lr m' / (sqrt(v') + eps).

    m' and v' are corrected for their start at 0 (Kingma and Ba, 2015). `weight_decay` is added to
    the gradient.
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        """Keep the settings. Raises InvalidValue for what no step could be taken with."""
        super().__init__(params, lr, weight_decay)
        if len(betas) != 2:
            raise InvalidValue(f"betas are two numbers, got {betas!r}")
        self.betas = (
            _checked(betas[0], "betas[0]", 0.0, 1.0),
            _checked(betas[1], "betas[1]", 0.0, 1.0),
        )
        self.eps = _checked(eps, "eps", 0.0)
        self._m: list[Array | None] = [None] * len(self.params)
        self._v: list[Array | None] = [None] * len(self.params)

    def _kept(self) -> tuple[list[Array | None], ...]:
        return self._m, self._v

    def _update(self, p: Array, grad: Array, kept: list[Any]) -> None:
        step = compute.AdamStep(
            self.lr, *self.betas, self.eps, self.weight_decay, self.decoupled, self.step_count
        )
        compute.adam(p, grad, kept[0], kept[1], step)

    def _moments(self) -> dict[str, list[Array | None]]:
        return {"m": self._m, "v": self._v}


class AdamW(Adam):
    """Adam with the weights themselves decayed: p = p (1 - lr weight_decay) first.

    Loshchilov and Hutter, 2019.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        """Keep the settings, as Adam."""
        super().__init__(params, lr, betas, eps, weight_decay)
