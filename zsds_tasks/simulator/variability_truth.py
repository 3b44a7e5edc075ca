"""What truly shines at some places of the sky, epoch by epoch; the score of variability leans on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from zsds_tasks.simulator.candidate_changes import EVENTS, VARIABLE, flux_of, kinds_of, magnitude_of
from zsds_tasks.simulator.score_matching import Columns, columns_of, rows_of
from zsds_tasks.simulator.truth.tables import DETECTION_SCHEMA, truth_path
from zsds_tasks.sky.healpix import unit_vectors
from zsds_tasks.sky.tangent import ARCSEC_PER_RADIAN
from zsds_tasks.survey.nights import ObservingNight

Floats = NDArray[np.float64]
Epochs = Mapping[str, Sequence[int]]
"""Exposures by night."""
VARYING = (VARIABLE, *EVENTS)
NOTHING = "nothing"
RADIUS_ARCSEC = 1.0
LEAST_LIGHT = 0.05
"""Share of the brightest there that something must reach at its peak to make a place vary."""
_COLUMNS = ("expid", "object_id", "kind", "ra", "dec", "mag")
_NONE = pa.schema([DETECTION_SCHEMA.field(name) for name in _COLUMNS]).empty_table()


@dataclass(frozen=True)
class TruePlaces:
    """The light within `RADIUS_ARCSEC` of N places.

    Parameters
    ----------
    kind : (N) str
        What it is: of what varies that which is brightest at its peak, if it is over `LEAST_LIGHT` of the
        brightest; else the brightest; `NOTHING` where nothing is.
    object_id : (N) int64
        Which; -1 of nothing.
    epochs : dict of (place, expid) to float
        True magnitude of all that is there together.
    """

    kind: NDArray[np.str_]
    object_id: NDArray[np.int64]
    epochs: dict[tuple[int, int], float]


def true_variables(truth: Path, epochs: Epochs) -> Columns:
    """Return the variable stars that some exposures hold: object_id and their mean place, ra and dec.

    Parameters
    ----------
    truth : Path
    epochs : mapping
        Nights without truth say nothing.
    """
    rows = _detections(truth, epochs, pc.field("kind") == VARIABLE)
    object_id, first = np.unique(rows["object_id"], return_index=True)
    # Stars move by far less than the radius between the nights of a simulated survey.
    return {"object_id": object_id, "ra": rows["ra"][first], "dec": rows["dec"][first]}


def true_places(truth: Path, epochs: Epochs, ra: Floats, dec: Floats) -> TruePlaces:
    """Say what truly is at N places.

    Parameters
    ----------
    truth : Path
    epochs : mapping
        Nights without truth say nothing.
    ra, dec : (N) float64, degrees (ICRS)

    Returns
    -------
    TruePlaces
        One batch of truth is in memory at a time, and of it what is near is kept.
    """
    rows = _detections(truth, epochs, pc.scalar(value=True), cKDTree(vectors(ra, dec)))
    kind, object_id = np.full(len(ra), NOTHING, dtype="U20"), np.full(len(ra), -1, np.int64)
    flux = flux_of(rows["mag"])
    order = np.lexsort((flux, rows["place"]))
    light = np.zeros(len(ra))
    light[rows["place"][order]] = flux[order]  # the brightest is written last
    counts = np.isin(rows["kind"], VARYING) & (flux >= LEAST_LIGHT * light[rows["place"]])
    for chosen in (order, order[counts[order]]):
        kind[rows["place"][chosen]] = rows["kind"][chosen]
        object_id[rows["place"][chosen]] = rows["object_id"][chosen]
    pairs, code = np.unique(np.column_stack([rows["place"], rows["expid"]]), axis=0, return_inverse=True)
    total = magnitude_of(np.bincount(code.reshape(-1), flux, len(pairs)))
    found = {(int(place), int(expid)): float(mag) for (place, expid), mag in zip(pairs, total, strict=True)}
    return TruePlaces(kind, object_id, found)


def vectors(ra: ArrayLike, dec: ArrayLike) -> Floats:
    """Return unit vectors times the arcseconds of a radian, (N, 3): small distances are in arcsec."""
    return ARCSEC_PER_RADIAN * unit_vectors(ra, dec)


def _detections(truth: Path, epochs: Epochs, where: pc.Expression, around: cKDTree | None = None) -> Columns:
    """Return true detections of exposures; near the places of a tree only, `place` the nearest, if given."""
    parts = [_columns(_NONE, around)]
    for night, expids in epochs.items():
        path = truth_path(truth, ObservingNight.parse(night), "detections")
        if path.exists():
            chosen = pc.field("expid").isin(list(expids)) & where
            batches = ds.dataset(path).to_batches(columns=list(_COLUMNS), filter=chosen)
            parts += [_columns(pa.Table.from_batches([batch]), around) for batch in batches if batch.num_rows]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _columns(table: pa.Table, around: cKDTree | None) -> Columns:
    rows = columns_of(table.drop_columns(["kind"])) | {"kind": kinds_of(table)}
    if around is None:
        return rows
    away, place = around.query(vectors(rows["ra"], rows["dec"]), distance_upper_bound=RADIUS_ARCSEC)
    return rows_of(rows | {"place": place.astype(np.int64)}, np.isfinite(away))
