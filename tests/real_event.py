"""The microlensing event in the bulge field KB13475: its light curve from our difference images."""
# ruff: noqa: T201 - prints for a benchmark

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import real_pairs as real

from zsds_tasks.science.candidates.detect import DetectConfig, Detections, detect
from zsds_tasks.science.candidates.measure import measure
from zsds_tasks.science.difference.assess import AssessConfig, Metrics, judge, measure_difference
from zsds_tasks.science.difference.subtract import subtract
from zsds_tasks.settings import REPOSITORY

BASE = "I0098"
EVENT_PX = (288.6, 216.0)
"""Where it is in the base frame, from its detections; the data's description says about (287, 215)."""
NEAR_PX = 3.0
QUIET_MJD = (56_508.5, 56_520.0)
BEST = ("I0001", "I0008", "I0011", "I0018", "I0021", "I0026", "I0047", "I0053")
"""Of the frames before MJD 56504 those with a FWHM under 4.6 px and a limit over 18.2."""


@dataclass(frozen=True)
class Epoch:
    """One difference image: when, its quality, candidates over 5, flux at the event, is that one of them."""

    name: str
    mjd: float
    metrics: Metrics
    status: str
    positive: int
    negative: int
    flux: float
    error: float
    is_found: bool


def frames_and_reference(data: Path, names: tuple[str, ...] | None = None, best: tuple[str, ...] = BEST):
    """Frames by the ends of their names (all by default), and a reference of some before the event."""
    rows = real.saao_paths(data)
    base = real.see_saao(*next(row for row in rows if BASE in row[1].name), None)
    used = [row for row in rows if names is None or _ends(row[1], (*names, *best))]
    frames = [
        base if path.name.startswith(base.name) else real.see_saao(mjd, path, base) for mjd, path in used
    ]
    reference = real.stacked([frame for frame in frames if frame.name.endswith(best)])
    return [frame for frame in frames if names is None or frame.name.endswith(names)], reference


def _ends(path: Path, names: tuple[str, ...]) -> bool:
    return path.name.split(".")[0].endswith(names)


def epoch_of(frame: real.Seen, reference) -> Epoch:
    """Subtract the reference from a frame and look for the event."""
    science, there = real.pair_of(reference, frame)
    made = subtract(science, there, real.DIFFERENCE, subject=frame.name)
    found = detect(made.subtraction.score, DetectConfig()).brighter_than(5.0)
    scores = found.score[found.sign > 0], found.score[found.sign < 0]
    metrics = measure_difference(made, scores, AssessConfig())
    x, y = (float(v[0]) for v in frame.wcs.sky_to_pixel(*_place()))
    score = float(made.subtraction.score[round(y) - 1, round(x) - 1])
    sign = -1.0 if score < 0 else 1.0
    here = Detections(*(np.array([v]) for v in (x - 1, y - 1, max(abs(score), 1.0), sign, 0.0)))
    table = measure(made.subtraction, made.mask, here, made.zero_point, metrics.diffmaglim, real.MEASURE)
    away = np.hypot(found.x + 1 - x, found.y + 1 - y)[found.sign == sign]
    scale = sign * 10 ** (0.4 * (real.ZERO_POINT - made.zero_point))
    flux, error = (float(scale * table[name][0]) for name in ("flux", "sigflux"))
    status = judge(metrics, AssessConfig()).status
    return Epoch(
        frame.name, frame.mjd, metrics, status, len(scores[0]), len(scores[1]), flux, abs(error),
        bool(len(away) and away.min() < NEAR_PX),
    )  # fmt: skip


def _place():
    plane = real.plane_of(np.eye(2), np.zeros(2), (512, 512))
    return plane.pixel_to_sky([EVENT_PX[0]], [EVENT_PX[1]])


def show(data: Path, *, draw: bool = False) -> None:
    """Print quality and light curve of all frames."""
    frames, reference = frames_and_reference(data)
    epochs = [epoch_of(frame, reference) for frame in frames]
    print("| frame | MJD | FWHM | S_corr | level | stars left | + | - | verdict | event flux | S/N | |")
    for frame, e in zip(frames, epochs, strict=True):
        m = e.metrics
        print(
            f"| {e.name[-5:]} | {e.mjd:.4f} | {frame.points.psf.fwhm:.1f} | {m.score_scatter:.2f} | "
            f"{m.level:.2f} | {m.star_residual:.3f} | {e.positive} | {e.negative} | {e.status} | "
            f"{e.flux:.0f} | {abs(e.flux) / e.error:.1f} | {'found' if e.is_found else ''} |"
        )
    for name, values in (
        ("scatter of S_corr", [e.metrics.score_scatter for e in epochs]),
        ("stars left", [e.metrics.star_residual for e in epochs]),
        ("registration, px", [e.metrics.registration_px for e in epochs]),
        ("candidates +", [e.positive for e in epochs]),
        ("candidates -", [e.negative for e in epochs]),
    ):
        print(f"{name}: median {np.median(values):.3g}, 16-84 % {np.percentile(values, [16, 84]).round(3)}")
    peak = max(epochs, key=lambda e: e.flux)
    print(f"last nights {baseline(epochs):.0f}, highest {peak.flux:.0f} DN at {peak.mjd:.3f}")
    if draw:
        _draw(epochs, REPOSITORY / "docs" / "images" / "real-event.png")


def baseline(epochs: list[Epoch]) -> float:
    """Return the median flux of the last nights, after the event."""
    return float(np.median([e.flux for e in epochs if QUIET_MJD[0] < e.mjd < QUIET_MJD[1]]))


def _draw(epochs: list[Epoch], path: Path) -> None:
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
    level = baseline(epochs)
    for axis, span in zip(axes, ((56_470, 56_516), (56_507.68, 56_508.06)), strict=True):
        for is_found, colour, label in (
            (True, "#1f4e79", "a candidate (S_corr over 5)"), (False, "#b03a2e", "measured at its place"),
        ):  # fmt: skip
            some = [e for e in epochs if e.is_found == is_found]
            axis.errorbar(
                [e.mjd for e in some], [(e.flux - level) / 1e3 for e in some], [e.error / 1e3 for e in some],
                fmt="o", ms=3, color=colour, elinewidth=0.8, label=label,
            )  # fmt: skip
        axis.set(xlim=span, xlabel="MJD")
        axis.xaxis.set_major_locator(ticker.MaxNLocator(5))
        axis.ticklabel_format(useOffset=False)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("flux of the event in D, 1000 DN")
    axes[0].legend(loc="upper left", fontsize=8)
    figure.suptitle("KB13475 (SAAO 1.0 m, I): flux of D above that of the last nights")
    figure.savefig(path, dpi=110)
    plt.close(figure)
