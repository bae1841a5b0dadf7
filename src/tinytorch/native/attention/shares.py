"""How the rows of a batch of attentions are dealt out to threads: as equal work, in whole groups.

A share is a run of groups: it may begin inside one sequence and end inside another. Every group is
computed the same way whoever does it, so results don't depend on the number of threads.

Shape letters: Tq, Tk queries and keys of one sequence.
"""

from __future__ import annotations

from tinytorch.native.codecache import jit

# What a sequence costs beside its scores, in scores: packing a key and its value, and for each
# query scaling it and writing its output.
_KEY, _QUERY = 8, 4


@jit
def shift_for(Tq, Tk, causal):
    """Return by how many keys query i sees beyond key i; the last query sees the last key."""
    return Tk - Tq if causal != 0 else Tk


@jit
def work(rows, Tk, shift):
    """Return the scores of the first `rows` queries, query i seeing keys 0 … i + shift."""
    start = max(0, -shift)
    if rows <= start:
        return 0
    growing = max(start, min(rows, Tk - shift - 1))  # rows before this one see less than all
    seen = (start + shift + 1 + growing + shift) * (growing - start) // 2
    return seen + (rows - growing) * Tk


@jit
def sizes_of(lengths, job):
    """Return (Tq, Tk) of a job; one column of `lengths` stands for all."""
    column = job if lengths.shape[1] > 1 else 0
    return lengths[0, column], lengths[1, column]


@jit
def _work_before(row, lengths, job, causal):
    """Return what a job costs up to a row, packing included."""
    Tq, Tk = sizes_of(lengths, job)
    return work(row, Tk, shift_for(Tq, Tk, causal)) + row * _QUERY + Tk * _KEY


@jit
def begin(share, shares, jobs, lengths, causal, group):
    """Return where a share begins: the job, and the row in it, which begins a group."""
    total = 0
    for job in range(jobs):
        total += _work_before(sizes_of(lengths, job)[0], lengths, job, causal)
    wanted = share * total // shares
    job, before = 0, 0
    while job < jobs:
        own = _work_before(sizes_of(lengths, job)[0], lengths, job, causal)
        if before + own > wanted:
            break
        before += own
        job += 1
    if job == jobs or before >= wanted:
        return job, 0
    Tq = sizes_of(lengths, job)[0]
    row = 0
    while row < Tq and before + _work_before(row, lengths, job, causal) < wanted:
        row += group
    return (job, row) if row < Tq else (job + 1, 0)
