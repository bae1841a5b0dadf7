"""compress_model: several techniques in one call, all checked before the first one starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tinytorch.errors import InvalidValue, UnknownName
from tinytorch.perf import models
from tinytorch.perf.compression import magnitude
from tinytorch.perf.compression.lowrank import LowRankLinear, pays
from tinytorch.perf.compression.magnitude import (
    checked_share,
    magnitude_prune,
    measure_sparsity,
    structured_prune,
    weights_of,
)
from tinytorch.perf.models import MIB


def _low_rank(model: Any, rank_ratio: float) -> None:
    """Replace linear layers by two thin ones where that is fewer numbers."""
    for path, layer in list(models.named_layers(model)):
        if type(layer).__name__ == "Linear" and pays(models.array_in(layer.weight), rank_ratio):
            models.replace_layer(model, path, LowRankLinear(layer, rank_ratio))


def _blocks(model: Any, share: float) -> None:
    """Prune what SparseLinear(layer, (4, 16)) leaves out whole."""
    magnitude.block_prune(model, share, (16, 4))


# In the order in which they are applied: pruning looks at weights as they are in the end.
_TECHNIQUES: Mapping[str, Callable[[Any, float], Any]] = {
    "low_rank": _low_rank,
    "structured_prune": structured_prune,
    "block_prune": _blocks,
    "magnitude_prune": magnitude_prune,
}


def _checked(model: Any, config: Any) -> dict[str, float]:
    if not isinstance(config, Mapping):
        raise InvalidValue(
            f"a compression config is a mapping such as {{'magnitude_prune': 0.8}}, got {config!r}"
        )
    for name in config:
        if name not in _TECHNIQUES:
            raise UnknownName("compression technique", name, _TECHNIQUES)
    shares = {name: checked_share(share, name) for name, share in config.items()}
    weights = weights_of(model)
    if not weights:
        raise InvalidValue(f"a {type(model).__name__} has no weights to compress")
    for weight in weights:
        magnitude.checked_finite(weight)
    if "low_rank" in shares:
        if shares["low_rank"] == 0:
            raise InvalidValue("low_rank must be over 0: nothing of the weights would be left")
        if not models.children_of(model):
            raise InvalidValue(
                f"a {type(model).__name__} by itself can't be replaced: use LowRankLinear"
            )
    return shares


def compress_model(model: Any, config: Mapping[str, float]) -> dict[str, Any]:
    """Compress a model in place, and return what came of it.

    config: shares (0 to 1) by technique: "low_rank" (rank_ratio of each Linear, where two halves
    are fewer numbers), "structured_prune" (of each layer's outputs), "block_prune" (of each linear
    weight's blocks of 16 inputs by 4 outputs, which the sparse kernels multiply fastest),
    "magnitude_prune" (of all weights), applied in this order. Anything wrong is refused before the
    model is changed.

    original_params, final_params; original_sparsity, final_sparsity, sparsity_increase in percent;
    original_mb, final_mb, as stored: zeros take room like any number (SparseLinear leaves them
    out); applied_techniques, as "magnitude_prune_0.8".
    """
    shares = _checked(model, config)
    found: dict[str, Any] = {
        "original_params": models.parameter_count(model),
        "original_sparsity": measure_sparsity(model),
        "original_mb": models.parameter_bytes(model) / MIB,
        "applied_techniques": [],
    }
    for name, technique in _TECHNIQUES.items():
        if name in shares:
            technique(model, shares[name])
            found["applied_techniques"].append(f"{name}_{config[name]}")
    final = measure_sparsity(model)
    return {
        **found,
        "final_params": models.parameter_count(model),
        "final_sparsity": final,
        "sparsity_increase": final - found["original_sparsity"],
        "final_mb": models.parameter_bytes(model) / MIB,
    }


class Compressor:
    """The same functions under the names of earlier versions."""

    measure_sparsity = staticmethod(measure_sparsity)
    magnitude_prune = staticmethod(magnitude_prune)
    structured_prune = staticmethod(structured_prune)
    compress_model = staticmethod(compress_model)
