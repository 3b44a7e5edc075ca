"""Random generators that depend on a seed and a name, never on what was drawn before.

The same (seed, words) gives the same stream in every process, in any order of work: that is what makes a
simulated night bit-identical however many workers share it.
"""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *words: object) -> np.random.Generator:
    """Return the generator of one purpose.

    Parameters
    ----------
    seed : int
        Of the whole simulation.
    *words
        What it is for and for whom, as ``generator(seed, "cosmic rays", expid, rcid)``; their printed form
        counts.
    """
    text = "\x1f".join([str(seed), *(str(word) for word in words)])
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
