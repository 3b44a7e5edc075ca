"""Light curves as pictures: magnitudes against time and, with a period, against phase."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zsds_tasks.catalog.light_curve import check_period
from zsds_tasks.errors import UnusableInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zsds_tasks.catalog.light_curve import LightCurve

# Told apart by those who see fewer colours too (Okabe and Ito's palette), and by their marks.
STYLES = (("#009e73", "o"), ("#d55e00", "s"), ("#7b5ea7", "^"), ("#0072b2", "D"))
FLAGGED = "flagged"
INK, FAINT, GRID = "#222222", "#9a9a9a", "#e4e4e4"
_BAD: dict[str, Any] = {
    "marker": "x",
    "linestyle": "",
    "color": FAINT,
    "markersize": 4,
    "markeredgewidth": 0.8,
}


def plot_light_curves(
    curves: Sequence[LightCurve],
    path: str | Path | None = None,
    *,
    period: float | None = None,
    title: str = "",
) -> Figure:
    """Draw light curves of one star, brighter up, a colour and mark for each filter.

    Parameters
    ----------
    curves : sequence of LightCurve
        At least one epoch in all.
    path : str or Path, optional
        Where to save it; the ending chooses the format, PNG for most purposes.
    period : float, optional
        Days; adds a panel of two turns of the folded light curve.
    title : str
        By default the star's identifier and place.

    Returns
    -------
    matplotlib.figure.Figure
        Epochs that are not good are crosses in grey.

    Raises
    ------
    UnusableInputError
        If there is nothing to draw, or the period is none.
    """
    from matplotlib.backend_bases import FigureCanvasBase  # noqa: PLC0415 - slow import
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    if not sum(len(curve) for curve in curves):
        raise UnusableInputError("there is no epoch to draw", subject=title or "light curve")
    if period is not None:
        check_period(period, title or curves[0].objectid)
    kind = Path(path or "a.png").suffix.lstrip(".").lower()
    if kind not in FigureCanvasBase.get_supported_filetypes():
        raise UnusableInputError(
            "is no format for a picture", subject=str(path), remedy="end its name in .png, .pdf or .svg"
        )
    figure = Figure(
        figsize=(12.0, 4.6) if period else (9.0, 4.6), dpi=120, facecolor="white", layout="constrained"
    )
    axes = figure.subplots(1, 2 if period else 1, squeeze=False, sharey=True)[0]
    origin = float(np.floor(min(curve.hmjd.min() for curve in curves if len(curve))))
    _draw(axes[0], curves, lambda curve: (curve.hmjd - origin,))
    axes[0].set_xlabel(f"HMJD - {origin:.0f} [d]")
    axes[0].set_ylabel("magnitude")
    if period:
        zero = _brightest(curves)

        def twice(curve: LightCurve) -> tuple[Any, ...]:
            phase = curve.fold(period, zero)
            return phase, phase + 1.0

        _draw(axes[1], curves, twice)
        axes[1].set_xlim(-0.02, 2.02)
        axes[1].set_xlabel(f"phase, period {period:.7g} d")
        axes[1].axvline(1.0, color=GRID, zorder=0)
    _frame(axes[0], curves)
    # Outside of the panels, where it hides nothing; what is flagged comes last.
    named = sorted(
        zip(*axes[0].get_legend_handles_labels(), strict=True), key=lambda pair: pair[1] == FLAGGED
    )
    handles, labels = zip(*named, strict=True)
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=9)
    first = curves[0]
    shown = title or f"{first.objectid} at {first.ra:.5f} {first.dec:+.5f}"
    figure.suptitle(shown, x=0.01, ha="left", fontsize=11, color=INK)
    if path is not None:
        figure.savefig(path, metadata={"Software": None} if str(path).endswith(".png") else None)
    return figure


def _draw(axes: Axes, curves: Sequence[LightCurve], places: Any) -> None:
    drawn: set[str] = set()
    said_bad = False
    for number, filterid in enumerate(sorted({curve.filterid for curve in curves})):
        colour, mark = STYLES[number % len(STYLES)] if filterid > len(STYLES) else STYLES[filterid - 1]
        for curve in (one for one in curves if one.filterid == filterid):
            clean = curve.is_clean
            shown = np.isfinite(curve.mag)
            for x in places(curve):
                label = curve.filter
                axes.errorbar(
                    x[clean], curve.mag[clean], curve.magerr[clean], fmt=mark, color=colour, ecolor=colour,
                    markersize=3.6, markeredgewidth=0, elinewidth=0.7, alpha=0.85,
                    label=None if label in drawn else label,
                )  # fmt: skip
                drawn.add(label)
                bad = shown & ~clean
                if bad.any():
                    axes.plot(x[bad], curve.mag[bad], label=None if said_bad else FLAGGED, zorder=1, **_BAD)
                    said_bad = True
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _frame(axes: Axes, curves: Sequence[LightCurve]) -> None:
    """Choose the limits by the good epochs, brighter up: a flagged wild point shall not flatten the rest."""
    good = np.concatenate([curve.mag[curve.is_clean] for curve in curves])
    every = np.concatenate([curve.mag[np.isfinite(curve.mag)] for curve in curves])
    values = good if good.size else every
    low, high = (float(end) for end in (values.min(), values.max())) if values.size else (0.0, 1.0)
    margin = max(0.08 * (high - low), 0.05)
    axes.set_ylim(high + margin, low - margin)


def _brightest(curves: Sequence[LightCurve]) -> float:
    """Return when the star with the most good epochs in a filter was brightest: phase 0."""
    longest = max(curves, key=lambda curve: int(curve.is_clean.sum()))
    chosen = longest.clean() if longest.is_clean.any() else longest
    return float(chosen.hmjd[int(np.nanargmin(chosen.mag))]) if len(chosen) else 0.0
