"""What the feature model sees: measures of a candidate and its stamps that have no scale of their own.

A simulation has not nature's mixture of magnitudes, places, crowding and weather. A feature that tells those
apart would teach that mixture, so there are ratios only; no place, time, product, magnitude, sign or
neighbour that says in which field or near which kind of object a candidate lies. Nor are there measures that
depend on what noise this pipeline allows for (dsnrms, ssnrms, snr over scorr): left out they cost nothing on
simulated skies, and ZTF's own alerts are then ranked more as ZTF ranks them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.science.realbogus.shapes import SHAPES, shape_measures

Floats = NDArray[np.float64]
NEAR_PX, EDGE_PX, STRONG, RATIO = 10.0, 40.0, 20.0, 10.0
"""Beyond these a value says no more, and is cut there."""


class Columns:
    """Columns of candidates and measures of their stamps as float64, NaN where there is nothing."""

    def __init__(self, table: pa.Table, stamps: NDArray[np.floating] | None = None) -> None:
        self.table = table
        self.shapes = None if stamps is None else shape_measures(stamps)

    def __getitem__(self, name: str) -> Floats:
        if name in SHAPES and self.shapes is not None:
            return np.asarray(self.shapes[:, SHAPES.index(name)], np.float64)
        if name not in self.table.column_names:
            return np.full(self.table.num_rows, np.nan)
        return np.asarray(
            self.table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64
        )


@dataclass(frozen=True)
class Feature:
    """One input of the feature model.

    Parameters
    ----------
    name : str
        As in model cards.
    value : callable
        From columns of candidates to an array (n) float64.
    why : str
        What it tells.
    """

    name: str
    value: Callable[[Columns], Floats]
    why: str


def _plain(name: str) -> Callable[[Columns], Floats]:
    return lambda columns: columns[name]


def _capped(name: str, most: float) -> Callable[[Columns], Floats]:
    return lambda columns: np.minimum(columns[name], most)


def _near(columns: Columns, values: Floats) -> Floats:
    return np.where(columns["distnr"] < NEAR_PX, values, np.nan)


def _odd(columns: Columns) -> Floats:
    """Return log10 of chi of the source over the root of its strength, which that of the candidate tells."""
    strength = 10 ** (0.4 * (columns["magpsf"] - columns["magnr"])) * columns["scorr"]
    return np.asarray(np.log10(np.maximum(columns["chinr"], 0.1) / np.sqrt(np.maximum(strength, 1.0))))


def _ratio(above: Floats, below: Floats) -> Floats:
    known = np.where(np.abs(below) > 1e-6, below, np.nan)
    return np.asarray(np.clip(above / known, -RATIO, RATIO))


DECLARED: tuple[Feature, ...] = (
    Feature("strength", lambda c: np.log10(np.clip(c["scorr"], 1.0, STRONG)),
            "how far noise may move all others; rows are weighed so that alone it tells nothing"),
    Feature("chipsf", lambda c: np.minimum(c["chipsf"], RATIO), "not of the shape of a point"),
    Feature("magdiff", lambda c: np.clip(c["magdiff"], -3, 3),
            "aperture over PSF flux: extended, or a single pixel"),
    Feature("growth", lambda c: np.clip(c["magapbig"] - c["magap"], -3, 3),
            "light beyond 7 px: trails, ghosts"),
    Feature("seeratio", _plain("seeratio"), "sharper or wider than the PSF"),
    Feature("aimagerat", _plain("aimagerat"), "length over FWHM"),
    Feature("bimagerat", _plain("bimagerat"), "width over FWHM"),
    Feature("elong", lambda c: np.minimum(c["elong"], RATIO), "drawn out"),
    Feature("nneg", _plain("nneg"), "pixels of the other sign beside the peak"),
    Feature("nbad", _plain("nbad"), "flagged pixels beside the peak"),
    Feature("sumrat", _plain("sumrat"), "of one sign, or a dipole"),
    Feature("dipole", lambda c: np.minimum(c["dipole"], 3.0), "the other half of a displaced star"),
    Feature("skyrat", lambda c: _ratio(50.0 * c["sky"], c["flux"]),
            "local level under 50 px over the flux: halos"),
    Feature("distnr", _capped("distnr", NEAR_PX), "on a source of the reference, beside one, or alone; px"),
    Feature("contrast", lambda c: _near(c, np.clip(c["magnr"] - c["magpsf"], -10, 10)),
            "flux over that of the source beside it: residuals are small parts of bright stars"),
    Feature("sharpnr", lambda c: _near(c, np.clip(c["sharpnr"], -3, 3)),
            "that source is no point: galaxies, saturated stars"),
    Feature("chinr", lambda c: _near(c, np.minimum(c["chinr"], RATIO)),
            "that source is not of the PSF's shape: galaxies, what few epochs left in the reference"),
    Feature("oddnr", lambda c: _near(c, _odd(c)), "the same beyond what the strength of the source explains"),
    Feature("spikenr", lambda c: _near(c, np.maximum(-c["sharpnr"], 0) * np.clip(c["chinr"] - 1, 0, RATIO)),
            "surely sharper than the PSF: a cosmic ray in the reference looks like a star that is lost"),
    Feature("edge", _capped("mindtoedge", EDGE_PX), "filters lack pixels near an edge, px"),
    *(
        Feature(f"{channel}_{name}", _plain(f"{channel}_{name}"), why)
        for channel in ("science", "template")
        for name, why in (
            ("sharp", "one pixel, or as wide as the PSF: cosmic rays and hot pixels, of the reference too"),
            ("low", "lowest pixel beside the highest: rings of an interpolation over a spike"),
            ("light", "light there over that of the difference: residuals are small parts of it"),
            ("slope", "steepness there over the difference's peak: what a shift of a pixel would leave"),
            ("bright", "brightest pixel about, in units of the noise: halos, rings of saturated stars"),
            ("far", "how far away that is"),
        )
    ),
    Feature("difference_sharp", _plain("difference_sharp"), "one pixel, or as wide as the PSF"),
    Feature("difference_low", _plain("difference_low"), "lowest pixel beside the highest"),
    Feature("rough", _plain("rough"), "scatter from 3.5 to 9 px over the stamp's: subtracted badly"),
    Feature("beside", _plain("beside"), "highest pixel there over the peak: one of many"),
    Feature("deep", _plain("deep"), "lowest pixel within 8 px over the peak: dipoles"),
    Feature("turned", _plain("turned"), "likeness to itself turned by half a turn"),
    Feature("narrow", _plain("narrow"), "light within 1.5 px over that within 3.5"),
    Feature("wide", _plain("wide"), "light within 6.5 px over that within 3.5: trails, halos"),
    Feature("blank_near", _plain("blank_near"), "share of the difference within 3.5 px that is masked"),
    Feature("blank_wide", _plain("blank_wide"), "the same within 10 px"),
)  # fmt: skip
FEATURES: tuple[str, ...] = tuple(feature.name for feature in DECLARED)
"""Names of the feature set f3, in order."""


def feature_matrix(candidates: pa.Table, stamps: NDArray[np.floating] | None = None) -> NDArray[np.float32]:
    """Return the features of candidates, (n, len(FEATURES)) float32, NaN where unknown.

    Parameters
    ----------
    candidates : pyarrow.Table (n)
        Columns of the table `candidates`, or of packets; those that lack are unknown.
    stamps : numpy.ndarray (n, 3, 63, 63), optional
        Science, reference, difference; without them what they tell is unknown.
    """
    columns = Columns(candidates, stamps)
    matrix = np.empty((candidates.num_rows, len(DECLARED)), np.float32)
    with np.errstate(invalid="ignore"):
        for k, feature in enumerate(DECLARED):
            matrix[:, k] = feature.value(columns)
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix
