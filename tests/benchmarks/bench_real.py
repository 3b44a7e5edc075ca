"""Real images and catalogues of other observatories: what ours gives beside what their files state.

ZSDS_DATA=<folder of real data> python tests/benchmarks/bench_real.py
"""
# ruff: noqa: T201 - a benchmark prints its table

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

import real_images  # noqa: E402 - the path comes first

SETS = ("decam", "saao", "ztf", "panoptes", "hsc", "lco")


def main() -> None:
    """Print one row for each set and quantity."""
    if not (folder := os.environ.get("ZSDS_DATA")):
        print("ZSDS_DATA is not set: no real data, nothing measured")
        return
    print("| set | what | images | ours, median | stated, median | ratio, 16-84 % | difference, 16-84 % |")
    print("|---|---|---|---|---|---|---|")
    for name in SETS:
        rows = list(getattr(real_images, name)(Path(folder)))
        for what in dict.fromkeys(row.what for row in rows):
            show(name, what, np.array([(row.ours, row.stated) for row in rows if row.what == what]))


def show(name: str, what: str, pairs: np.ndarray) -> None:
    """Print the row of pairs (n, 2) of ours and stated."""
    ours, stated = np.median(pairs, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.percentile(pairs[:, 0] / pairs[:, 1], [16, 84])
    less = np.percentile(pairs[:, 0] - pairs[:, 1], [16, 84])
    print(
        f"| {name} | {what} | {len(pairs)} | {ours:.3f} | {stated:.3f} | "
        f"{ratio[0]:.3f} to {ratio[1]:.3f} | {less[0]:+.3f} to {less[1]:+.3f} |"
    )


if __name__ == "__main__":
    main()
