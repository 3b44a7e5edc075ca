"""How well calibration masters know what was planted: bias, pixel response, bad pixels, smooth maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import NothingToDoError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.compressed import decode_image
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.calibration.robust import robust_sigma
from zsds_tasks.science.calibration.smooth import SmoothConfig, Smoother
from zsds_tasks.simulator.instrument.detector import BAD_KINDS, Ccd
from zsds_tasks.simulator.instrument.optics import quadrant_origin
from zsds_tasks.simulator.score import Measure
from zsds_tasks.simulator.score_maps import MAP_KINDS, score_maps
from zsds_tasks.simulator.truth.recipe import instrument_of
from zsds_tasks.survey.camera import Camera
from zsds_tasks.survey.nights import ObservingNight

Row = dict[str, Any]
Image = NDArray[np.float32]
Truths = NDArray[np.bool_]
PIXEL_TO_PIXEL = SmoothConfig(scale_px=24.0, cell_px=8)
"""What is smoother than this is not the high-frequency flat's business; taken out before comparing."""
JUSTIFYING = {
    MaskBit.DEAD: ("dead", "blocked column"),
    MaskBit.LOW_RESPONSE: ("low", "blocked column"),
    MaskBit.HIGH_RESPONSE: ("high",),
    MaskBit.NOISY: ("hot",),
}
"""Kinds of planted defect that justify each bit; each bit finds the first of its kinds."""
BIAS_TARGET_DN, FLAT_TARGET, PULL_TARGET = 0.7, 0.0015, 1.1
COMPLETENESS_TARGET, PURITY_TARGET = 0.98, 0.95


def score_calibration(lakehouse: Lakehouse, truth: Path, night: ObservingNight) -> list[Measure]:
    """Compare the accepted masters of a simulated night with the detector it was taken with.

    Parameters
    ----------
    lakehouse : Lakehouse
    truth : Path
        Folder of truth tables.
    night : ObservingNight

    Returns
    -------
    list of Measure
        Residuals of bias (DN) and flat (relative), medians over the masters; the width of their pulls;
        completeness and purity of each bit of bad pixels; what `score_maps` says. Empty if the night has no
        masters, or was simulated before its recipe was kept.
    """
    rows = lakehouse.table("master_frames").read(where={"night": str(night), "accepted": True}).to_pylist()
    try:
        instrument = instrument_of(truth, night, lakehouse.include)
    except NothingToDoError:
        return []
    residuals: dict[str, list[tuple[float, float]]] = {"bias": [], "hifreqflat": []}
    maps = [row for row in rows if row["kind"] in MAP_KINDS]
    counts = {bit: np.zeros(4, np.int64) for bit in JUSTIFYING}
    for row in rows:
        if row["kind"] not in {"bias", "hifreqflat", "badpix"}:
            continue
        ccd = instrument.ccd(row["ccdid"])
        image = _pixels(lakehouse, row, "path")
        if row["kind"] == "badpix":
            for bit in JUSTIFYING:
                counts[bit] += _found(image, bit, ccd, instrument.camera, row["qid"])
            continue
        uncertainty = _pixels(lakehouse, row, "unc_path")
        residuals[row["kind"]].append(_residual(row, image, uncertainty, ccd, instrument.camera))
    flats = {(row["rcid"], row["fid"]): row for row in rows if row["kind"] == "hifreqflat"}
    return [
        *_residual_measures(residuals),
        *_defect_measures(counts),
        *score_maps(lakehouse, instrument, maps, flats),
    ]


def _pixels(lakehouse: Lakehouse, row: Row, column: str) -> NDArray[Any]:
    return decode_image(lakehouse.storage.read_bytes(row[column]), subject=row[column])


def _residual(row: Row, image: Image, uncertainty: Image, ccd: Ccd, camera: Camera) -> tuple[float, float]:
    """Return the robust residual of a master, and over its uncertainty; defects are left out."""
    response = _part(ccd.response, camera, row["qid"])
    good = ~np.logical_or.reduce(list(_planted(ccd, camera, row["qid"]).values()))
    if row["kind"] == "bias":
        pattern = ccd.bias[row["qid"] - 1]
        glow = pattern.glow_row[:, None] * pattern.glow_column
        residual = image - (pattern.row[:, None] + pattern.column + glow).astype(np.float32)
    else:
        residual = image / np.maximum(response, np.float32(0.01)) - np.float32(1)
    residual[~good] = np.nan
    if row["kind"] != "bias":
        smoother = Smoother(residual.shape, PIXEL_TO_PIXEL)
        residual -= smoother.smooth(smoother.cells(residual))
    return robust_sigma(residual), robust_sigma(residual) / float(np.sqrt(np.nanmean(uncertainty[good] ** 2)))


def _part(image: NDArray[Any], camera: Camera, qid: int) -> NDArray[Any]:
    x0, y0 = quadrant_origin(camera, qid)
    return image[y0 : y0 + camera.quadrant.ny, x0 : x0 + camera.quadrant.nx]


def _planted(ccd: Ccd, camera: Camera, qid: int) -> dict[str, Truths]:
    """Return where the defects of each kind lie in a channel."""
    found = {kind: np.zeros(ccd.response.shape, np.bool_) for kind in BAD_KINDS}
    for row, column, kind in zip(ccd.bad.row, ccd.bad.column, ccd.bad.kind, strict=True):
        name = BAD_KINDS[kind]
        if name == "blocked column":
            ny = camera.quadrant.ny
            found[name][slice(row, ny) if row < ny else slice(ny, row + 1), column] = True
        else:
            found[name][row, column] = True
    return {kind: _part(where, camera, qid) for kind, where in found.items()}


def _found(mask: NDArray[np.uint16], bit: MaskBit, ccd: Ccd, camera: Camera, qid: int) -> NDArray[np.int64]:
    """Return how many pixels were planted, found of them, flagged, and flagged with right."""
    planted = _planted(ccd, camera, qid)
    wanted = planted[JUSTIFYING[bit][0]]
    right = np.logical_or.reduce([planted[kind] for kind in JUSTIFYING[bit]])
    flagged = (mask & bit.flag) > 0
    return np.array([np.count_nonzero(x) for x in (wanted, wanted & flagged, flagged, flagged & right)])


def _residual_measures(residuals: dict[str, list[tuple[float, float]]]) -> Iterator[Measure]:
    texts = {
        "bias": ("bias residual, DN", BIAS_TARGET_DN, "scatter of master minus planted bias"),
        "hifreqflat": ("flat residual", FLAT_TARGET, "scatter of master over planted pixel response"),
    }
    for kind, (name, target, sentence) in texts.items():
        if residuals[kind]:
            value, pull = (float(np.median(column)) for column in zip(*residuals[kind], strict=True))
            yield _at_most(name, value, target, f"{sentence}, median of {len(residuals[kind])} masters")
            honest = "that scatter over the masters' own uncertainty: 1 where it is honest"
            yield _at_most(f"{kind} pull", pull, PULL_TARGET, honest)


def _defect_measures(counts: dict[MaskBit, NDArray[np.int64]]) -> Iterator[Measure]:
    for bit, (planted, found, flagged, right) in counts.items():
        name = JUSTIFYING[bit][0]
        if planted:
            words = f"{found} of {planted} planted {name} pixels carry bit {int(bit)}"
            yield _at_least(f"{name} pixels completeness", found / planted, COMPLETENESS_TARGET, words)
        if flagged:
            words = f"{right} of {flagged} pixels with bit {int(bit)} were planted so"
            yield _at_least(f"{name} pixels purity", right / flagged, PURITY_TARGET, words)


def _at_most(name: str, value: float, target: float, sentence: str) -> Measure:
    return Measure(name, round(value, 5), target, value <= target, sentence)


def _at_least(name: str, value: float, target: float, sentence: str) -> Measure:
    return Measure(name, round(float(value), 4), target, bool(value >= target), sentence)


def is_met(measures: Sequence[Measure]) -> bool:
    """Say whether every measure reaches its target."""
    return all(measure.ok for measure in measures)


def with_masters(report: dict[str, Any], measures: Sequence[Measure]) -> dict[str, Any]:
    """Return a score as the night's report takes it, with the measures of masters behind its own."""
    return report | {"measures": [*report["measures"], *map(asdict, measures)]}
