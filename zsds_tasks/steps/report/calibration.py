"""What a night report says of calibration masters: how many, which were refused and why, how they look."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.pages import nothing, section, table, tag
from zsds_tasks.steps.calibration import read_master
from zsds_tasks.steps.report.drawing import WIDTH, line, nice_ticks, rect, svg, text
from zsds_tasks.steps.report.focal_plane import place_quadrant
from zsds_tasks.steps.report.gather import NightFacts, records
from zsds_tasks.steps.report.pictures import BACKGROUND, INK, png

KINDS = {
    "bias": "Bias, DN",
    "hifreqflat": "High-frequency flat",
    "badpix": "Bad pixels",
    "linearity": "Linearity",
    "shutter": "Shutter, s",
    "ledflat": "LED flats",
    "starflat": "Star flat",
}
DEFECTS = {
    "n_dead": ("dead", "#8f5bd6"),
    "n_low": ("low responsivity", "#4c8bf5"),
    "n_high": ("high responsivity", "#e0a33a"),
    "n_noisy": ("noisy or hot", "#d6573f"),
}
LONG_SIDE = 520
"""Pixels of each map's longer side, about."""
_SHOWN = 40


@dataclass(frozen=True)
class MasterMap:
    """A master of every channel, binned, on the focal plane."""

    title: str
    pixels: NDArray[np.float32]
    """(ny, nx) float32; NaN where there is no detector or no accepted master."""


def master_maps(lakehouse: Lakehouse, facts: NightFacts) -> list[MasterMap]:
    """Read the accepted biases, and the flats of one filter, and lay them out on the focal plane.

    The filter is the one with the most accepted flats, of equals the one nearest the middle of the list. A
    file that is gone or spoilt leaves its channel empty: the report is where one reads of it.
    """
    maps = []
    for kind, fid in (("bias", 0), ("hifreqflat", _shown_filter(facts))):
        rows = facts.masters[
            (facts.masters["kind"] == kind) & (facts.masters["fid"] == fid) & facts.masters["accepted"]
        ]
        if len(rows):
            name = f" · {facts.survey.filter_by_fid(fid).name}" if fid else ""
            maps.append(MasterMap(f"{KINDS[kind]}{name}", _laid_out(lakehouse, facts, rows)))
    return maps


def _shown_filter(facts: NightFacts) -> int:
    flats = facts.masters[(facts.masters["kind"] == "hifreqflat") & facts.masters["accepted"]]
    fids = [f.fid for f in facts.survey.filters]
    middle = (len(fids) - 1) / 2
    return max(fids, key=lambda fid: ((flats["fid"] == fid).sum(), -abs(fids.index(fid) - middle)))


def _laid_out(lakehouse: Lakehouse, facts: NightFacts, rows: pd.DataFrame) -> NDArray[np.float32]:
    camera = facts.camera
    half_width, half_height = camera.half_size_arcsec
    scale = camera.mosaic.pixel_scale_arcsec
    binning = max(1, math.ceil(2 * max(half_width, half_height) / scale / LONG_SIDE))
    step = binning * scale
    shape = (math.ceil(2 * half_height / step), math.ceil(2 * half_width / step))
    canvas = np.full(shape, np.nan, np.float32)
    for row in rows.to_dict("records"):
        try:
            image = read_master(lakehouse, {str(name): value for name, value in row.items()})
        except UnusableInputError:
            continue
        ny, nx = (n // binning for n in image.shape)
        blocks = image[: ny * binning, : nx * binning].reshape(ny, binning, nx, binning)
        binned = np.median(blocks, axis=(1, 3)).astype(np.float32)
        place_quadrant(canvas, binned, camera, camera.quadrants[int(row["rcid"])], binning)
    return canvas


def masters_png(maps: list[MasterMap]) -> bytes:
    """Draw maps side by side, each over its own 1st to 99th percentile, with a scale.

    Returns
    -------
    bytes
        PNG.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow import

    ny, nx = maps[0].pixels.shape
    dpi = 100
    width, height = len(maps) * (nx + 120), ny + 70
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor=BACKGROUND)
    for number, drawn in enumerate(maps):
        place = ((number * (nx + 120) + 20) / width, 20 / height, nx / width, ny / height)
        axes = figure.add_axes(place)
        valid = drawn.pixels[np.isfinite(drawn.pixels)]
        low, high = np.percentile(valid, [1, 99]) if valid.size else (0.0, 1.0)
        shown = axes.imshow(np.ma.masked_invalid(drawn.pixels), cmap="cividis", vmin=low, vmax=high)
        axes.set_axis_off()
        axes.set_title(drawn.title, color=INK, fontsize=11)
        scale = figure.add_axes((place[0] + place[2] + 10 / width, place[1], 12 / width, place[3]))
        figure.colorbar(shown, cax=scale)
        scale.tick_params(colors=INK, labelsize=8)
    return png(figure)


def masters(facts: NightFacts, picture: bytes | None) -> str:
    """Return the section of calibration masters; empty on a night without calibration frames."""
    found = facts.masters
    is_calibration = facts.exposures["kind"].isin(["bias", "flat"])
    if found.empty:
        words = nothing("Calibration frames came, but no master was built.")
        return section("Calibration masters", words, anchor="masters") if is_calibration.any() else ""
    accepted = found["accepted"].astype(bool)
    body = [
        table(
            ("Master", "Accepted", "Refused", "Frames", "Noise", "Scatter"),
            _by_kind(facts),
            numeric=(1, 2, 3, 4, 5),
        )
    ]
    if picture:
        data = base64.b64encode(picture).decode("ascii")
        body.append(
            '<figure><img alt="Master bias and flat on the focal plane" '
            f'src="data:image/png;base64,{data}"></figure>'
        )
    body += [_refusals(facts, found[~accepted]), _bad_pixels(found[found["kind"] == "badpix"])]
    note = f"{len(found)} masters, {accepted.sum()} accepted and {(~accepted).sum()} refused."
    return section("Calibration masters", "".join(body), note=note, anchor="masters")


def _by_kind(facts: NightFacts) -> list[tuple[str, ...]]:
    rows = []
    for (kind, fid), group in facts.masters.groupby(["kind", "fid"]):
        good = group["accepted"].astype(bool)
        filter_ = next((f for f in facts.survey.filters if f.fid == fid), None)
        name = KINDS[str(kind)] + (f" · {filter_.name}" if filter_ else "")
        numbers = (group[column].median() for column in ("noise", "scatter"))
        rows.append(
            (
                escape(name),
                str(good.sum()),
                str((~good).sum()),
                f"{group['n_frames'].median():.0f}",
                *("" if pd.isna(number) else f"{number:.3g}" for number in numbers),
            )
        )
    return rows


def _refusals(facts: NightFacts, refused: pd.DataFrame) -> str:
    if refused.empty:
        return ""
    rows = [
        (
            f"{row.ccdid}·q{row.qid}",
            escape(KINDS[row.kind] + (f" · {facts.survey.filter_by_fid(row.fid).name}" if row.fid else "")),
            f"{tag('refused', 'bad')} {escape(row.reason)}",
        )
        for row in records(refused.head(_SHOWN))
    ]
    rest = f'<p class="note">and {len(refused) - _SHOWN} more</p>' if len(refused) > _SHOWN else ""
    return table(("Channel", "Master", "Why"), rows) + rest


def _bad_pixels(rows: pd.DataFrame) -> str:
    """Return bars of the bad pixels of each channel, stacked by kind."""
    rows = rows[rows["n_dead"].notna()]
    if rows.empty:
        return ""
    totals = rows[list(DEFECTS)].sum(axis=1)
    height, top, left, bottom = 180.0, 12.0, 48.0, 150.0
    most = max(float(totals.max()), 1.0)
    marks = []
    for tick in nice_ticks(0, most, 4):
        y = bottom - tick / most * (bottom - top)
        marks += [line(left, y, WIDTH, y), text(left - 6, y + 4, f"{tick:g}", anchor="end")]
    step = (WIDTH - left) / len(rows)
    for number, row in enumerate(records(rows)):
        x, y = left + number * step, bottom
        for column, (name, colour) in DEFECTS.items():
            count = int(getattr(row, column))
            size = count / most * (bottom - top)
            y -= size
            title = f"{row.ccdid}·q{row.qid}: {count} {name}"
            marks.append(rect(x + 0.1 * step, y, 0.8 * step, size, fill=colour, title=title))
        if len(rows) <= 16:
            marks.append(text(x + step / 2, bottom + 18, f"{row.ccdid}·q{row.qid}", anchor="middle"))
    legend = "".join(
        f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in DEFECTS.values()
    )
    drawing = svg(WIDTH, height, marks, "Bad pixels of each channel")
    heading = "<h3>Bad pixels by channel</h3>"
    return f'<figure class="strip">{heading}{drawing}</figure><div class="legend">{legend}</div>'
