"""Stamps of alerts as one picture: science, reference and difference of each, names and scores above."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from astropy.io import fits
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.steps.alerts.run import read_stamps
from zsds_tasks.steps.report.alerts_data import AlertFacts
from zsds_tasks.steps.report.gather import records
from zsds_tasks.steps.report.pictures import BACKGROUND, INK, PANEL, png

COLUMNS = 4
"""Alerts in a row of the picture."""
Image = NDArray[np.float32]


@dataclass(frozen=True)
class StampRow:
    """One alert to be shown."""

    heading: str
    words: str
    stamps: tuple[Image, Image, Image]


def read_rows(
    lakehouse: Lakehouse, facts: AlertFacts, alerts: pd.DataFrame, truth: Mapping[str, str]
) -> list[StampRow]:
    """Return what to show of alerts.

    Parameters
    ----------
    lakehouse : Lakehouse
    facts : AlertFacts
    alerts : pandas.DataFrame
        Some rows of its `alerts`.
    truth : mapping
        What candidates really are, by candid as text; empty where nobody knows.

    Returns
    -------
    list of StampRow
        An alert whose stamps are gone or spoilt is left out.
    """
    images = {row["pid"]: row for row in facts.images.to_dict("records")}
    kept: dict[int, dict[int, tuple[bytes, bytes, bytes]]] = {}
    found = []
    for alert in records(alerts):
        image = images.get(alert.pid)
        if image is None or not image["path"]:
            continue
        if alert.pid not in kept:
            row = image | {"products": list(image["products"])}
            try:
                kept[alert.pid] = read_stamps(lakehouse, row)
            except (UnusableInputError, FileNotFoundError):
                kept[alert.pid] = {}
        if alert.candid in kept[alert.pid]:
            really = truth.get(str(alert.candid), "")
            words = f"{alert.magpsf:.2f} mag, {_score(alert)}" + (f"\n{really}" if really else "")
            found.append(StampRow(alert.objectid, words, _pixels(kept[alert.pid][alert.candid])))
    return found


def stamps_png(rows: list[StampRow]) -> bytes:
    """Draw alerts side by side."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow import

    lines = -(-len(rows) // COLUMNS)
    figure = Figure(figsize=(11.2, 1.62 * lines), dpi=100, facecolor=BACKGROUND)
    for number, row in enumerate(rows):
        line, column = divmod(number, COLUMNS)
        left, top = column / COLUMNS, 1 - line / lines
        figure.text(left + 0.008, top - 0.13 / lines, row.heading, color=INK, fontsize=8.5, weight="bold")
        figure.text(
            left + 0.008, top - 0.17 / lines, row.words, color=INK, fontsize=7.5, va="top", alpha=0.8,
            linespacing=1.25,
        )  # fmt: skip
        for place, stamp in enumerate(row.stamps):
            side = 0.078
            axes = figure.add_axes(
                (left + 0.008 + place * (side + 0.002), top - 0.98 / lines, side, 0.58 / lines)
            )
            axes.set_facecolor(PANEL)
            low, high = _range(stamp)
            axes.imshow(stamp, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
    return png(figure)


def _range(stamp: Image) -> tuple[float, float]:
    """Return the values shown black and white: some noise below the sky, and what is bright in the middle."""
    known = stamp[np.isfinite(stamp)]
    if not known.size:
        return 0.0, 1.0
    middle = float(np.median(known))
    noise = max(1.4826 * float(np.median(np.abs(known - middle))), 1e-3)
    ny, nx = stamp.shape
    core = stamp[ny // 2 - 4 : ny // 2 + 5, nx // 2 - 4 : nx // 2 + 5]
    peak = float(np.nanmax(core)) if np.isfinite(core).any() else middle
    return middle - 2 * noise, max(middle + 5 * noise, min(peak, middle + 60 * noise))


def _pixels(stamps: tuple[bytes, bytes, bytes]) -> tuple[Image, Image, Image]:
    one, two, three = (
        np.asarray(fits.getdata(io.BytesIO(gzip.decompress(stamp))), np.float32) for stamp in stamps
    )
    return one, two, three


def _score(alert: pd.Series) -> str:
    for name in ("drb", "rb"):
        if np.isfinite(getattr(alert, name)):
            return f"{name} {getattr(alert, name):.2f}"
    return f"{alert.scorr:.1f} sigma"
