"""Which neighbours to join: the training of byte-pair encoding."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping

Pair = tuple[bytes, bytes]


def learn_merges(words: Mapping[str, int], count: int) -> list[Pair]:
    """Return up to `count` pairs to join, most frequent first; of equals, the smallest.

    words: each word's number of occurrences. Only the words that contain the joined pair are
    counted anew, so a merge costs what it changes.
    """
    parts = [[bytes([b]) for b in word.encode()] for word in words]
    times = list(words.values())
    counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for i, split in enumerate(parts):
        for pair in itertools.pairwise(split):
            counts[pair] += times[i]
            where[pair].add(i)
    # A heap of what counts were: an entry that is no longer true is passed over.
    heap = [(-n, pair) for pair, n in counts.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while len(merges) < count and heap:
        negative, best = heapq.heappop(heap)
        if counts[best] != -negative:
            continue
        if -negative < 2:
            break
        merges.append(best)
        changed: set[Pair] = set()
        for i in sorted(where.pop(best)):
            before, parts[i] = parts[i], join(parts[i], best)
            for split, sign in ((before, -1), (parts[i], 1)):
                for pair in itertools.pairwise(split):
                    counts[pair] += sign * times[i]
                    changed.add(pair)
            for pair in itertools.pairwise(parts[i]):
                where[pair].add(i)
        for pair in changed - {best}:
            heapq.heappush(heap, (-counts[pair], pair))
    return merges


def join(split: list[bytes], pair: Pair) -> list[bytes]:
    """Return a split with every occurrence of a pair joined, from the left."""
    joined: list[bytes] = []
    i = 0
    while i < len(split):
        if tuple(split[i : i + 2]) == pair:
            joined.append(split[i] + split[i + 1])
            i += 2
        else:
            joined.append(split[i])
            i += 1
    return joined
