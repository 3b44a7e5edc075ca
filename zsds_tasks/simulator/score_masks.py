"""What mask images say of planted artefacts: cosmic rays, bleeds, tracks, ghosts, halos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.compressed import decode_image
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.products.science_files import MASK, product_path
from zsds_tasks.simulator.instrument.reflections import ReflectionConfig
from zsds_tasks.simulator.score import Measure

Row = Mapping[str, Any]
Mask = NDArray[np.uint16]
Truths = NDArray[np.bool_]
MOST_IMAGES = 12
"""Masks read: a sample, taken evenly from the night."""
RAY_MARGIN_PX = 3.0
"""A spike this near to a cosmic ray's track is its own."""
TRACK_MARGIN_PX = 15.0
FAINTEST = {"trail": 1.0, "ghost": 1.0, "halo": 0.3}
"""Light per pixel in sigma of the sky from which an artefact should be masked."""
KINDS = {
    "cosmic ray": (MaskBit.SPIKE, "cosmic rays"),
    "bleed": (MaskBit.SATURATED, "full pixels of bleeds"),
    "trail": (MaskBit.TRACK, "pixels on satellite tracks"),
    "ghost": (MaskBit.GHOST, "pixels of ghosts"),
    "halo": (MaskBit.HALO, "pixels of halos"),
}
COMPLETENESS_TARGET, PURITY_TARGET = 0.9, 0.8


@dataclass
class MaskScore:
    """Counts over the masks read."""

    images: int
    found: dict[str, NDArray[np.int64]]
    """By kind: planted and masked; rays one by one, everything else in pixels."""
    spikes: NDArray[np.int64]
    """Pixels flagged as spikes, and those on a cosmic ray."""
    unusable: float
    """Share of pixels with a bit of the unusable template."""

    def measures(self) -> list[Measure]:
        """Return completeness by kind, and purity of spikes."""
        if not self.images:
            return []
        over = f"in {self.images} masks"
        measures = []
        for kind, (bit, words) in KINDS.items():
            planted, masked = (int(n) for n in self.found[kind])
            if planted:
                sentence = f"{masked:,} of {planted:,} {words} carry bit {int(bit)}, {over}"
                measures.append(_share(f"{kind} masked", masked / planted, COMPLETENESS_TARGET, sentence))
        flagged, right = (int(n) for n in self.spikes)
        if flagged:
            sentence = f"{right:,} of {flagged:,} pixels with bit 7 lie on a cosmic ray, {over}"
            measures.append(_share("spike purity", right / flagged, PURITY_TARGET, sentence))
        return measures


def score_masks(
    lakehouse: Lakehouse,
    images: Sequence[Row],
    artefacts: Callable[[int, int], Sequence[Row]],
    noise: Callable[[int, int], float],
    reflections: ReflectionConfig,
) -> MaskScore:
    """Compare a sample of masks with the artefacts planted there.

    Parameters
    ----------
    lakehouse : Lakehouse
    images : sequence of mapping
        Rows of `science_images` with expid, rcid, path, products.
    artefacts, noise : callable
        Of (expid, rcid): the truth rows there; the sky's noise, electrons per pixel.
    reflections : ReflectionConfig
        Shape of ghosts.

    Returns
    -------
    MaskScore
        A mask that is gone or spoilt is not counted.
    """
    chosen = [(row, path) for row in images if (path := product_path(row, MASK))]
    step = max(1, -(-len(chosen) // MOST_IMAGES))
    score = MaskScore(0, {kind: np.zeros(2, np.int64) for kind in KINDS}, np.zeros(2, np.int64), 0.0)
    for row, place in chosen[::step]:
        try:
            mask: Mask = decode_image(lakehouse.storage.read_bytes(place), subject=place)
        except (UnusableInputError, FileNotFoundError):
            continue
        number = row["expid"], row["rcid"]
        score.images += 1
        score.unusable += float(np.count_nonzero(mask & UNUSABLE)) / mask.size
        _judge(score, mask, artefacts(*number), noise(*number), reflections)
    score.unusable /= max(score.images, 1)
    return score


def _judge(
    score: MaskScore, mask: Mask, artefacts: Iterable[Row], noise: float, reflections: ReflectionConfig
) -> None:
    rays = np.zeros(mask.shape, np.bool_)
    planted = {kind: np.zeros(mask.shape, np.bool_) for kind in ("bleed", "trail", "ghost", "halo")}
    for artefact in artefacts:
        kind = artefact["kind"]
        if kind == "cosmic ray":
            score.found[kind] += _ray(mask, artefact, rays)
        elif kind == "bleed":
            _paint_segment(planted[kind], artefact, 0.6)
        elif kind == "trail" and _trail_light(artefact) > FAINTEST[kind] * noise:
            _paint_segment(planted[kind], artefact, max(1.0, artefact["radius"]))
        elif kind in FAINTEST and kind != "trail":
            inner = 0.0
            if kind == "ghost":
                inner = artefact["radius"] * reflections.ghost_inner_arcsec / reflections.ghost_outer_arcsec
            light = artefact["electrons"] / (np.pi * (artefact["radius"] ** 2 - inner**2))
            if light > FAINTEST[kind] * noise:
                _paint_ring(planted[kind], artefact, inner)
    for kind, where in planted.items():
        bit = KINDS[kind][0].flag
        score.found[kind] += np.array([np.count_nonzero(where), np.count_nonzero(where & ((mask & bit) > 0))])
    spikes = (mask & MaskBit.SPIKE.flag) > 0
    score.spikes += np.array([np.count_nonzero(spikes), np.count_nonzero(spikes & rays)])


def _ray(mask: Mask, artefact: Row, rays: Truths) -> NDArray[np.int64]:
    """Count a ray that entered here as (1, whether masked there): crooked ones end elsewhere than told."""
    ny, nx = mask.shape
    x, y = round(artefact["x"]) - 1, round(artefact["y"]) - 1
    length = np.hypot(artefact["x_end"] - artefact["x"], artefact["y_end"] - artefact["y"])
    _paint_ring(rays, {"x": artefact["x"], "y": artefact["y"], "radius": length + RAY_MARGIN_PX}, 0.0)
    if not (0 <= x < nx and 0 <= y < ny):
        return np.zeros(2, np.int64)
    around = mask[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
    # In a full pixel or a track there is nothing left to find.
    masked = (around & (MaskBit.SPIKE.flag | MaskBit.SATURATED.flag | MaskBit.TRACK.flag)).any()
    return np.array([1, int(masked)])


def _trail_light(artefact: Row) -> float:
    """Electrons per pixel on a trail, about."""
    length = np.hypot(artefact["x_end"] - artefact["x"], artefact["y_end"] - artefact["y"])
    return float(artefact["electrons"] / max(length, 1.0) / max(2 * artefact["radius"], 1.0))


def _paint_segment(canvas: Truths, artefact: Row, half_width: float) -> None:
    """Set the pixels within `half_width` of a segment (FITS 1-based)."""
    ny, nx = canvas.shape
    x0, y0 = artefact["x"] - 1, artefact["y"] - 1
    dx, dy = artefact["x_end"] - artefact["x"], artefact["y_end"] - artefact["y"]
    top, bottom = _span(y0, y0 + dy, half_width, ny)
    left, right = _span(x0, x0 + dx, half_width, nx)
    if top >= bottom or left >= right:
        return
    y, x = np.ogrid[top:bottom, left:right]
    along = np.clip(((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-9), 0.0, 1.0)
    away = (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2
    canvas[top:bottom, left:right] |= away <= half_width**2


def _paint_ring(canvas: Truths, artefact: Row, inner: float) -> None:
    """Set the pixels between two radii of a place (FITS 1-based)."""
    ny, nx = canvas.shape
    x0, y0, outer = artefact["x"] - 1, artefact["y"] - 1, artefact["radius"]
    top, bottom = _span(y0, y0, outer, ny)
    left, right = _span(x0, x0, outer, nx)
    if top >= bottom or left >= right:
        return
    y, x = np.ogrid[top:bottom, left:right]
    away = (x - x0) ** 2 + (y - y0) ** 2
    canvas[top:bottom, left:right] |= (away <= outer**2) & (away >= inner**2)


def _span(first: float, last: float, margin: float, size: int) -> tuple[int, int]:
    """Return the pixels, cut to 0 and size, between two places and a margin."""
    low, high = sorted((first, last))
    return max(0, int(np.ceil(low - margin))), min(size, int(np.floor(high + margin)) + 1)


def _share(name: str, value: float, target: float, sentence: str) -> Measure:
    return Measure(name, round(value, 4), target, value >= target, sentence)
