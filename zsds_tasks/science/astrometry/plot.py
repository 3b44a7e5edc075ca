"""The residuals of one solution as a picture, on demand: never part of the hot path."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.science.astrometry.inputs import DetectedSources
from zsds_tasks.science.astrometry.solution import AstrometricSolution

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
MAS = 1000.0
BINS = 8  # along each side of the field of arrows
MIN_BIN_STARS = 3
SPACING = {"left": 0.07, "right": 0.98, "bottom": 0.05, "top": 0.92, "wspace": 0.18, "hspace": 0.18}
SPAN = 4.0  # of the axes, in RMS
DOTS: dict[str, Any] = {"s": 3, "alpha": 0.4, "linewidths": 0, "color": "#1f5f99"}


def residual_plot(
    solution: AstrometricSolution, sources: DetectedSources, shape: tuple[int, int], title: str = ""
) -> bytes:
    """Draw what is left between stars and catalogue after a solution.

    Four panels: arrows of the median residual over the image; the residuals on the sky with the RMS ellipse;
    both components against column and row; their length against signal-to-noise ratio.

    Parameters
    ----------
    solution : AstrometricSolution
    sources : DetectedSources
        Those that were solved.
    shape : (ny, nx)
    title : str

    Returns
    -------
    bytes
        PNG; the same for the same input.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - slow import
    from matplotlib.figure import Figure  # noqa: PLC0415 - the same

    figure = Figure(figsize=(11, 10))
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, gridspec_kw=SPACING)
    pairs, rms = solution.pairs, solution.residuals.rms
    x, y = sources.x[pairs.source], sources.y[pairs.source]
    east, north = pairs.east * MAS, pairs.north * MAS
    _draw_field(axes[0, 0], (x, y), (east, north), shape)
    _draw_sky(axes[0, 1], (east, north), (rms[0] * MAS, rms[1] * MAS))
    _draw_places(axes[1, 0], (x / shape[1], y / shape[0]), (east, north), max(rms) * MAS)
    snr = sources.flux[pairs.source] / sources.flux_error[pairs.source]
    _draw_brightness(axes[1, 1], snr, np.hypot(east, north))
    figure.suptitle(
        f"{title}  {solution.verdict}, {solution.n_matched} stars, rung {solution.rung}, "
        f"RMS {rms[0] * MAS:.0f} and {rms[1] * MAS:.0f} mas".strip()
    )
    stream = io.BytesIO()
    # Without the version of the library and the date two runs give the same bytes.
    figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
    return stream.getvalue()


def binned_residuals(
    place: tuple[Floats, Floats], residual: tuple[Floats, Floats], shape: tuple[int, int], bins: int = BINS
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return middles (x, y; pixels) and median residuals of the bins that have enough stars, each (k).

    Parameters
    ----------
    place : x, y, each (N), FITS 1-based pixels
    residual : two components, each (N)
    shape : (ny, nx)
    bins : int
        Along each side.
    """
    ny, nx = shape
    column = np.clip((place[0] - 0.5) * bins / nx, 0, bins - 1).astype(np.int64)
    row = np.clip((place[1] - 0.5) * bins / ny, 0, bins - 1).astype(np.int64)
    cell = row * bins + column
    full = np.flatnonzero(np.bincount(cell, minlength=bins * bins) >= MIN_BIN_STARS)
    medians = [np.array([np.median(values[cell == k]) for k in full]) for values in residual]
    x, y = (full % bins + 0.5) * nx / bins + 0.5, (full // bins + 0.5) * ny / bins + 0.5
    return x, y, medians[0], medians[1]


def _draw_field(
    axes: Axes, place: tuple[Floats, Floats], residual: tuple[Floats, Floats], shape: tuple[int, int]
) -> None:
    x, y, east, north = binned_residuals(place, residual, shape)
    axes.scatter(*place, **DOTS)
    if len(x):
        longest = float(np.hypot(east, north).max())
        unit = max(longest, 1e-9) / (shape[1] / BINS)
        arrows = axes.quiver(
            x, y, east, north, angles="xy", scale_units="xy", scale=unit, color="#c0392b", width=0.004
        )
        axes.quiverkey(arrows, 0.88, 1.03, longest, f"{longest:.1f} mas", labelpos="W")
    axes.set(xlim=(0, shape[1]), ylim=(0, shape[0]), aspect="equal", xlabel="x, pixels", ylabel="y, pixels")
    axes.set_title("medians: east to the right, north up", loc="left", fontsize=10)


def _draw_sky(axes: Axes, residual: tuple[Floats, Floats], rms: tuple[float, float]) -> None:
    axes.scatter(*residual, **DOTS)
    angle = np.linspace(0, 2 * np.pi, 100)
    axes.plot(rms[0] * np.cos(angle), rms[1] * np.sin(angle), color="#c0392b")
    span = SPAN * max(*rms, 1e-3)
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.axvline(0, color="0.7", linewidth=0.8)
    axes.set(xlim=(-span, span), ylim=(-span, span), aspect="equal", xlabel="east, mas", ylabel="north, mas")
    axes.set_title("source minus star, and the RMS", loc="left", fontsize=10)


def _draw_places(
    axes: Axes, share: tuple[Floats, Floats], residual: tuple[Floats, Floats], rms: float
) -> None:
    span = SPAN * max(rms, 1e-3)
    panels = [(along, value) for value in residual for along in share]
    for k, (along, value) in enumerate(panels):
        axes.scatter(along + 1.1 * k, value, **DOTS)
        axes.axvline(1.1 * k - 0.05, color="0.7", linewidth=0.8)
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.set(xlim=(-0.05, 4.35), ylim=(-span, span), ylabel="residual, mas")
    axes.set_xticks([0.5, 1.6, 2.7, 3.8], ["east, x", "east, y", "north, x", "north, y"])
    axes.set_title("against column and row", loc="left", fontsize=10)


def _draw_brightness(axes: Axes, snr: Floats, length: Floats) -> None:
    measured = (snr > 0) & (length > 0)
    axes.scatter(snr[measured], length[measured], **DOTS)
    axes.set(xscale="log", yscale="log", xlabel="signal over noise", ylabel="residual, mas")
    axes.set_title("against brightness", loc="left", fontsize=10)
