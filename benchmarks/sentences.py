"""Real sentences of mixed length: from the language reference that comes with every Python."""

from __future__ import annotations

import itertools
import random
import re

# Where the classes of length begin, in words, and the last one ends: as many are taken of each.
_CLASSES = (2, 6, 10, 14, 18, 23, 29, 37, 60)


def sentences(count: int = 32, seed: int = 0) -> list[str]:
    """Return `count` different sentences, short ones and long ones in no order."""
    from pydoc_data.topics import topics

    text = " ".join(" ".join(topics[name].split()) for name in sorted(topics))
    found = sorted({s.strip() for s in re.findall(r"[A-Z][a-zA-Z ,;:'()\"-]+[.?!]", text)})
    draw = random.Random(seed)
    chosen: list[str] = []
    for least, most in itertools.pairwise(_CLASSES):
        some = [s for s in found if least <= len(s.split()) < most]
        chosen += draw.sample(some, -(-count // (len(_CLASSES) - 1)))
    draw.shuffle(chosen)
    return chosen[:count]
