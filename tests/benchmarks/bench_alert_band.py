"""How many planted transients the band of magdiff drops, with and without a local sky under the apertures.

    python tests/benchmarks/bench_alert_band.py [seed ...]        default: 921 922 923

magdiff = magap - magpsf must lie in -0.4 to 0.75 (reference section 7.1). Of transients over 5 sigma, by the
S/N of the PSF fit: the share dropped; what noise alone lets expect; and the share dropped by the widest band
seen in later packets, -0.67 to 0.98. With ZSDS_DATA: how issued packets fill the band.
"""
# ruff: noqa: T201, E402 - a benchmark prints its table; the path comes first

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import numpy as np
import real_alerts
from difference_builders import make_pair, nearest, sides
from scipy.special import ndtr

from zsds_tasks.science.candidates.detect import DetectConfig, detect
from zsds_tasks.science.candidates.measure import MeasureConfig, measure
from zsds_tasks.science.difference.align import AlignConfig
from zsds_tasks.science.difference.subtract import DifferenceConfig, subtract

BANDS = ((-0.4, 0.75), (-0.67, 0.98))
SPANS = ((5, 6), (6, 8), (8, 12), (12, 1e9))
DIFFERENCE = DifferenceConfig(align=AlignConfig(brightest_mag=12.0, faintest_mag=20.0))


def planted(seed, local):
    """S/N and magdiff (NaN for apertures without light), and its expected error, of transients found."""
    pair = make_pair(
        seed, shape=(1100, 1100), stars=900, galaxies=80, transients=300, transient_flux=(150, 900)
    )
    made = subtract(*sides(pair), DIFFERENCE)
    found = detect(made.subtraction.score, DetectConfig()).brighter_than(5.0)
    config = MeasureConfig(aperture_sky=local)
    table = measure(made.subtraction, made.mask, found, made.zero_point, 20.5, config)
    near, distance = nearest(table["xpos"] - 1, table["ypos"] - 1, pair.tx, pair.ty)
    sign = np.where(table["isdiffpos"], 1.0, -1.0)
    hit = (distance < 1.5) & (sign == np.sign(pair.tflux[near]))
    share = table["sigfluxap"] / table["flux"]
    return table["snr"][hit], table["magdiff"][hit], share[hit]


def main(seeds):
    """Print both tables."""
    print("| apertures | S/N | n | dropped | of noise alone | dropped by the wide band | median magdiff |")
    print("|---|---|---|---|---|---|---|")
    for local, label in ((True, "less the local sky"), (False, "as they are")):
        parts = zip(*(planted(seed, local) for seed in seeds), strict=True)
        snr, change, share = (np.concatenate(part) for part in parts)
        for low, high in SPANS:
            some = (snr >= low) & (snr < high)
            lost = [1 - np.mean((change[some] >= a) & (change[some] <= b)) for a, b in BANDS]
            ratio = [10 ** (-0.4 * v) for v in BANDS[0]]
            inside = [ndtr((value - 1) / share[some]) for value in ratio]
            noise = 1 - np.mean(inside[0] - inside[1])
            print(
                f"| {label} | {low} to {high:g} | {some.sum()} | {lost[0]:.1%} | {noise:.1%} | "
                f"{lost[1]:.1%} | "
                f"{np.nanmedian(change[some]):+.3f} |"
            )
    if folder := os.environ.get("ZSDS_DATA"):
        issued = [record for _, record, _ in real_alerts.records(Path(folder))]
        change = np.array([r["magdiff"] for r in issued])
        faint = np.array([r["sigmapsf"] for r in issued]) > 0.15
        points = np.percentile(change[faint], [1, 16, 50, 84, 99]).round(2)
        print(f"issued packets: {len(change)}, magdiff {change.min():.3f} to {change.max():.3f}")
        print(f"of the {faint.sum()} with sigmapsf over 0.15: 1, 16, 50, 84, 99 % {points}")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [921, 922, 923])
