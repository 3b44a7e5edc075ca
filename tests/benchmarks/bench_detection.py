"""What peaks between pixels change, on made-up score images: a Markdown list.

Run it by hand: ``python tests/benchmarks/bench_detection.py``; half a minute. The height that a star has lost
at its highest pixel, peaks of noise beside the theory of smooth fields, and sources at the limit found at as
many false ones as whole pixels have, for eight seeds.
"""
# ruff: noqa: T201 - a benchmark prints what it finds

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "science")]

from test_candidates_detect import CONFIG, WHOLE, filtered, scores_of_stars  # noqa: E402 - the path comes first

from zsds_tasks.science.candidates.detect import detect  # noqa: E402 - as above

SIDE, STEP = 1200, 16
SEEDS = range(21, 29)


def grid(rng):
    """Return places of stars, each anywhere within its pixel."""
    y, x = np.mgrid[20 : SIDE - 20 : STEP, 20 : SIDE - 20 : STEP].reshape(2, -1)
    return x + rng.uniform(-0.5, 0.5, x.size), y + rng.uniform(-0.5, 0.5, y.size)


def lost(fwhm, height=20.0):
    """Return the share of a star's height that its highest pixel, and its peak between pixels, have lost."""
    x, y = grid(np.random.default_rng(20))
    score = scores_of_stars(x, y, height, (SIDE, SIDE), fwhm)
    return [
        1 - float(np.mean(detect(score, config).brighter_than(5.0).score)) / height
        for config in (WHOLE, CONFIG)
    ]


def peaks(fwhm, u, images=40):
    """Return peaks of noise over u per megapixel: by theory, between pixels, at whole pixels."""
    theory = 2e6 * 0.176 / fwhm**2 * u * np.exp(-(u**2) / 2)
    counts = np.zeros(2)
    for seed in range(images):
        score = filtered(np.random.default_rng([30, seed]).normal(0, 1, (SIDE, SIDE)), fwhm)
        counts += [len(detect(score, config).brighter_than(u)) for config in (CONFIG, WHOLE)]
    return theory, *(counts / (images * SIDE**2 / 1e6))


def gain(seed, fwhm=1.9, height=4.1, least=4.0):
    """Return what share of sources at the limit is found, at whole pixels and between them, as many false."""
    rng = np.random.default_rng(seed)
    noise = filtered(rng.normal(0, 1, (SIDE, SIDE)), fwhm)
    x, y = grid(rng)
    score = noise + scores_of_stars(x, y, height, noise.shape, fwhm)
    whole, false = (np.sort(detect(noise, config).score) for config in (WHOLE, CONFIG))
    shares = []
    for config, from_height in ((WHOLE, least), (CONFIG, false[-int((whole >= least).sum())])):
        found = detect(score, config).brighter_than(from_height)
        places = np.column_stack([found.x, found.y])[found.sign > 0]
        shares.append((cKDTree(places).query(np.column_stack([x, y]))[0] < 1.5).mean())
    return shares, len(x)


def main():
    """Print it all."""
    for fwhm in (1.9, 2.2, 3.0):
        whole, between = lost(fwhm)
        print(
            f"- FWHM {fwhm} px: lost {100 * whole:.1f} % at the highest pixel, "
            f"{100 * between:.1f} % between pixels"
        )
    for u in (4.0, 4.5, 5.0):
        theory, between, whole = peaks(2.2, u)
        print(f"- noise over {u}, FWHM 2.2 px, both signs, per megapixel: theory {theory:.1f}, "
              f"between pixels {between:.1f}, at whole pixels {whole:.1f}")  # fmt: skip
    found = [gain(seed) for seed in SEEDS]
    more = [100 * (between - whole) for (whole, between), _ in found]
    print(f"- sources at the limit found more, points, {len(found)} seeds of {found[0][1]:,}: "
          f"{min(more):.1f} to {max(more):.1f}, mean {np.mean(more):.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
