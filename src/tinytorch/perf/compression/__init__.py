"""Compression: pruning by exact counts, low rank, distillation, and layers that gain from zeros."""

from tinytorch.perf.compression.compress import Compressor, compress_model
from tinytorch.perf.compression.distillation import KnowledgeDistillation
from tinytorch.perf.compression.lowrank import LowRankLinear, low_rank_approximate
from tinytorch.perf.compression.magnitude import (
    Masks,
    block_prune,
    magnitude_prune,
    measure_sparsity,
    nm_prune,
    structured_prune,
    verify_pruning_works,
)
from tinytorch.perf.compression.schedule import prune_gradually, sparsity_at
from tinytorch.perf.compression.sparse import SparseLinear, sparsify_where_faster

__all__ = [
    "Compressor",
    "KnowledgeDistillation",
    "LowRankLinear",
    "Masks",
    "SparseLinear",
    "block_prune",
    "compress_model",
    "low_rank_approximate",
    "magnitude_prune",
    "measure_sparsity",
    "nm_prune",
    "prune_gradually",
    "sparsify_where_faster",
    "sparsity_at",
    "structured_prune",
    "verify_pruning_works",
]
