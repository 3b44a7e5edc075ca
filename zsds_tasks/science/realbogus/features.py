"""What the feature model sees: measures of a candidate that have no scale of their own.

A simulation has not nature's mixture of magnitudes, places, crowding and weather. A feature that tells those
apart would teach that mixture, so there are ratios only; no place, time, product, magnitude, sign or
neighbour that says in which field or near which kind of object a candidate lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NEAR_PX, EDGE_PX, STRONG, RATIO = 10.0, 40.0, 20.0, 10.0
"""Beyond these a value says no more, and is cut there."""


class Columns:
    """Columns of candidates as float64, NaN where there is nothing or no such column."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __getitem__(self, name: str) -> Floats:
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


def _over_score(name: str) -> Callable[[Columns], Floats]:
    return lambda columns: _ratio(columns[name], columns["scorr"])


def _near(columns: Columns, values: Floats) -> Floats:
    return np.where(columns["distnr"] < NEAR_PX, values, np.nan)


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
    Feature("dsnrms", _over_score("dsnrms"), "peak of the raw difference over that of the filtered: spikes"),
    Feature("ssnrms", _over_score("ssnrms"), "noise the score allowed for sources and registration"),
    Feature("snr", _over_score("snr"), "flux of the fit against the peak: a fit that found another thing"),
    Feature("dipole", lambda c: np.minimum(c["dipole"], 3.0), "the other half of a displaced star"),
    Feature("skyrat", lambda c: _ratio(50.0 * c["sky"], c["flux"]),
            "local level under 50 px over the flux: halos"),
    Feature("distnr", _capped("distnr", NEAR_PX), "on a source of the reference, beside one, or alone; px"),
    Feature("contrast", lambda c: _near(c, np.clip(c["magnr"] - c["magpsf"], -10, 10)),
            "flux over that of the source beside it: residuals are small parts of bright stars"),
    Feature("sharpnr", lambda c: _near(c, np.clip(c["sharpnr"], -3, 3)),
            "that source is no point: galaxies, saturated stars"),
    Feature("edge", _capped("mindtoedge", EDGE_PX), "filters lack pixels near an edge, px"),
)  # fmt: skip
FEATURES: tuple[str, ...] = tuple(feature.name for feature in DECLARED)
"""Names of the feature set f1, in order."""


def feature_matrix(candidates: pa.Table) -> NDArray[np.float32]:
    """Return the features of candidates, (n, len(FEATURES)) float32, NaN where unknown.

    Parameters
    ----------
    candidates : pyarrow.Table (n)
        Columns of the table `candidates`, or of packets; those that lack are unknown.
    """
    columns = Columns(candidates)
    matrix = np.empty((candidates.num_rows, len(DECLARED)), np.float32)
    with np.errstate(invalid="ignore"):
        for k, feature in enumerate(DECLARED):
            matrix[:, k] = feature.value(columns)
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix
