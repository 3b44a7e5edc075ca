"""Packets for tests of the broker: seeded bytes under real-looking identifiers."""

import random

from zsds_tasks.broker import Message

FIRST = 3005140370015010000


def make_messages(count, *, objects=0, size=200, seed=1, first=FIRST):
    rng = random.Random(seed)
    return [
        Message(
            first + k,
            f"ZTF18aaa{chr(97 + (k % (objects or 26 * 26)) // 26)}a{chr(97 + k % (objects or 26) % 26)}a",
            rng.randbytes(size),
        )
        for k in range(count)
    ]
