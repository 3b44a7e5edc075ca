"""Real pairs of images through our differencing, beside other programs: what is found, and what it costs.

    ZSDS_DATA=<folder> python tests/benchmarks/bench_real_difference.py [event] [saao] [decam] [full]
    ZSDS_HOTPANTS=<program> ZSDS_PEERS=<site-packages:checkout of PyZOGY>   for the peers

event: all 70 frames of the bulge field against a reference of 8: quality, candidates, the light curve of the
    microlensing event, drawn to docs/images/real-event.png with `--draw`.
saao: four pairs of it with planted stars, every engine; decam: three pairs likewise.
full: one made-up pair of 3072 x 3080 px; sfft needs 13 GB there, and is left out where there are not 16.

Stars are planted with the measured PSF at S/N 3 to 30 (of ours in blank sky). Completeness is that of planted
ones at the threshold that leaves FALSE other positive detections per pair: variable stars count as those.
"""
# ruff: noqa: T201 - a benchmark prints its table

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import sys  # noqa: E402 - threads are set first
from dataclasses import replace  # noqa: E402 - as above
from pathlib import Path  # noqa: E402 - as above

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import numpy as np  # noqa: E402 - as above
import peer_engines as peers  # noqa: E402 - as above
import psutil  # noqa: E402 - as above
import real_event  # noqa: E402 - as above
import real_pairs as real  # noqa: E402 - as above
from bench_difference import CONFIG, FULL, SATURATION, world  # noqa: E402 - as above
from difference_builders import nearest  # noqa: E402 - as above

from zsds_tasks.science.candidates.detect import DetectConfig, detect  # noqa: E402 - as above
from zsds_tasks.science.difference.subtract import subtract  # noqa: E402 - as above

FALSE = (5, 20)
PLANTED = 80
MEMORY_OF_SFFT = 16 * 1024**3
DEEP = DetectConfig(faint_sigma=2.5)
SEEN_IN = ("I0016", "I0074", "I0113", "I0173")


def plant(side, error, seed, n=PLANTED):
    """Draw stars of S/N 3 to 30 into a science image; return the side, x, y (0-based) and S/N."""
    rng = np.random.default_rng(seed)
    image = side.image.copy()
    ny, nx = image.shape
    x, y = rng.uniform(20, nx - 21, n), rng.uniform(20, ny - 21, n)
    snr = np.exp(rng.uniform(np.log(3), np.log(30), n))
    for px, py, flux in zip(x, y, snr * error, strict=True):
        i, j = round(py), round(px)
        light = flux * side.psf.stamp(px, py, 25, (px - j, py - i)).astype(float)
        light += rng.normal(0, 1, light.shape) * np.sqrt(np.maximum(light, 0) / side.gain)
        image[i - 12 : i + 13, j - 12 : j + 13] += light.astype(np.float32)
    return replace(side, image=image), x, y, snr


def width_of(score):
    """Robust scatter of a score."""
    usable = score[np.isfinite(score)]
    return 1.4826 * float(np.median(np.abs(usable - np.median(usable))))


def completeness(score, planted):
    """Threshold and share of planted stars found, for each number of others allowed."""
    x, y, _ = planted
    # Every score over its own scatter, so that the search goes down to the same depth.
    found = detect(np.ascontiguousarray(score / np.float32(width_of(score))), DEEP)
    positive = found.take(found.sign > 0)
    near, distance = nearest(x, y, positive.x, positive.y)
    height = np.where(distance < 2.0, positive.score[near], 0.0)
    rank = np.sort(positive.score[nearest(positive.x, positive.y, x, y)[1] > 4.0])[::-1]
    rows = []
    for allowed in FALSE:
        least = rank[allowed] if len(rank) > allowed else DEEP.faint_sigma
        rows.append((float(least), height > least))
    return rows, int((rank > 5).sum())


def compare(label, pairs, config, saturation, engines=tuple(peers.ENGINES)):
    """Print a row for each engine over all pairs (name, science, reference)."""
    sums = {name: [] for name in engines}
    for seed, (name, science, reference) in enumerate(pairs, 7001):
        first = subtract(science, reference, config)
        error = 1 / np.sqrt(float(np.median(first.subtraction.flux_score)))
        new, x, y, snr = plant(science, error, seed, PLANTED if science.image.size < 1e6 else 600)
        given = peers.prepared(new, reference, config, saturation)
        for engine in engines:
            try:
                score, seconds = peers.ENGINES[engine](given, new, reference, config)
            except peers.MissingError as error_:
                print(f"{label} {name}: {engine} left out: {error_}")
                continue
            rows, over = completeness(score, (x, y, snr))
            sums[engine].append((seconds / (score.size / 1e6), rows, over, snr, width_of(score)))
    for engine, found in sums.items():
        if not found:
            continue
        snr = np.concatenate([row[3] for row in found])
        cells = []
        for k, _ in enumerate(FALSE):
            hit = np.concatenate([row[1][k][1] for row in found])
            parts = [hit[(snr >= a) & (snr < b)].mean() for a, b in ((5, 8), (8, 15), (15, 31))]
            least = np.median([row[1][k][0] for row in found])
            cells.append(f"{' / '.join(f'{p:.0%}' for p in parts)} (over {least:.1f})")
        seconds, width, over = (np.median([row[k] for row in found]) for k in (0, 4, 2))
        print(
            f"| {label} | {engine} | {len(found)} | {seconds:.2f} | {width:.2f} | {over:.0f} | "
            f"{' | '.join(cells)} |",
            flush=True,
        )


def saao(data):
    """Pairs of the bulge field, from good to bad seeing."""
    frames, reference = real_event.frames_and_reference(data, SEEN_IN)
    for frame in frames:
        if frame.name.endswith(SEEN_IN):
            yield frame.name, *real.pair_of(reference, frame)


def main(words):
    """Print the tables asked for."""
    if not (folder := os.environ.get("ZSDS_DATA")):
        print("ZSDS_DATA is not set: no real data, nothing measured")
        return
    data = Path(folder)
    wanted = [word for word in words if not word.startswith("-")] or ["event", "saao", "decam", "full"]
    if "event" in wanted:
        real_event.show(data, draw="--draw" in words)
    columns = ", ".join(f"complete at {n} others, S/N 5-8 / 8-15 / 15-30" for n in FALSE)
    print(f"| pairs | engine | n | core-s per Mpx | scatter of S_corr | others over 5 | {columns} |")
    if "saao" in wanted:
        compare("SAAO bulge", saao(data), real.DIFFERENCE, 55_000.0)
    if "decam" in wanted:
        compare("DECam i", real.decam_pairs(data), real.DECAM, 40_000.0)
    if "full" in wanted:
        _, both = world(905, FULL, transients=0)
        fits = psutil.virtual_memory().available > MEMORY_OF_SFFT
        engines = tuple(name for name in peers.ENGINES if fits or name != "sfft")
        compare("made up", [("905", *both)], CONFIG, SATURATION, engines)


if __name__ == "__main__":
    main(sys.argv[1:])
