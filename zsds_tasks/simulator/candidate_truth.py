"""What each candidate of a simulated night really is: the labels that training and scores use.

Never read by the pipeline. A candidate is real if something on the sky changed there against the reference,
with its sign and by an amount that could give it: so in a crowded field a neighbour makes nothing real.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from zsds_tasks.declarations import Declaration
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.simulator.candidate_artefacts import Surroundings, artefact_kinds
from zsds_tasks.simulator.candidate_changes import STREAK, Changes, flux_of
from zsds_tasks.simulator.candidate_reader import ImageTruth, TruthOfCandidates
from zsds_tasks.simulator.score_matching import Columns, Truths, columns_of, rows_of
from zsds_tasks.sky import tangent
from zsds_tasks.survey.nights import ObservingNight

Floats = NDArray[np.float64]
Row = Mapping[str, Any]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], Floats]
LABEL_SCHEMA = pa.schema(
    [
        pa.field("candid", pa.int64(), nullable=False),
        pa.field("is_real", pa.bool_(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("object_id", pa.int64()),
        pa.field("mag", pa.float32()),
        pa.field("separation_arcsec", pa.float32()),
    ]
)
NEEDED = ("candid", "expid", "rcid", "ra", "dec", "xpos", "ypos", "isdiffpos", "magpsf", "mindtoedge",
          "rfid", "rfversion")  # fmt: skip
"""Columns of candidates that labels are made from."""


class LabelConfig(Declaration):
    """When a candidate is what was planted."""

    radius_arcsec: Annotated[float, Field(gt=0)] = Field(
        1.5, description="within which alerts are one object; places of S/N 5 are good to 0.2"
    )
    least_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="of the candidate's flux that the true change must have: noise may add the rest"
    )
    most_share: Annotated[float, Field(gt=1)] = Field(
        3.0, description="a change stronger than this gives more than such a candidate; streaks excepted"
    )


def label_candidates(
    candidates: pa.Table,
    truth: Path,
    night: ObservingNight,
    lakehouse: Lakehouse,
    config: LabelConfig = LabelConfig(),  # noqa: B008 - frozen
) -> pa.Table:
    """Say what each candidate of a simulated night really is.

    Parameters
    ----------
    candidates : pyarrow.Table (n)
        Rows of `candidates` of one night, in any order, with at least the columns `NEEDED`.
    truth : Path
        Folder of truth tables.
    night : ObservingNight
    lakehouse : Lakehouse
        Says which epochs the references have. What an object gave the reference is its mean over those epochs
        where their nights have truth; else its mean brightness (transients and bodies: nothing).
    config : LabelConfig

    Returns
    -------
    pyarrow.Table (n)
        `LABEL_SCHEMA`, in the order of the candidates. `kind` is one of `candidate_changes.REAL_KINDS` where
        is_real, else of `candidate_artefacts.ARTEFACT_KINDS`. `object_id` and `separation_arcsec` are of what
        changed, or of the source whose residual it is; `mag` that of the true difference; null where there is
        none.

    Raises
    ------
    NothingToDoError
        If the night was not simulated here.
    """
    reader = TruthOfCandidates(truth, night, lakehouse)
    columns = columns_of(candidates.select(NEEDED))
    n = candidates.num_rows
    labels = empty_labels(n)
    groups: dict[tuple[int, int, int, int], list[int]] = defaultdict(list)
    keys = (columns[name].tolist() for name in ("rcid", "expid", "rfid", "rfversion"))
    for row, key in enumerate(zip(*keys, strict=True)):
        groups[key].append(row)
    for (rcid, expid, *reference), rows in sorted(groups.items()):
        there = np.array(rows)
        known = reader.image(expid, rcid, (reference[0], reference[1]))
        found = label_image(rows_of(columns, there), known, config)
        for name, values in found.items():
            labels[name][there] = values
    return label_table(columns["candid"], labels)


@dataclass(frozen=True)
class Matches:
    """Which change each candidate is of, arrays (n); -1 of none."""

    row: NDArray[np.int64]
    separation_arcsec: Floats


def label_image(candidates: Columns, known: ImageTruth, config: LabelConfig) -> Columns:
    """Label the candidates of one image.

    Parameters
    ----------
    candidates : Columns
        `NEEDED` without candid and the keys of images and references, arrays (n).
    known : ImageTruth
    config : LabelConfig

    Returns
    -------
    Columns
        is_real, kind, object_id (-1 of none), mag, separation_arcsec (NaN of none); change: row of
        `known.changes`, -1 of none.
    """
    changes, sources = known.changes, known.sources
    n = len(candidates["ra"])
    if not n:
        return empty_labels(0)
    centre = (float(candidates["ra"][0]), float(candidates["dec"][0]))
    plane = _plane(candidates["ra"], candidates["dec"], centre)
    places = _plane(changes.ra, changes.dec, centre)
    flux = flux_of(candidates["magpsf"])
    match = match_changes(plane, flux, candidates["isdiffpos"].astype(bool), places, changes, config)
    is_real = match.row >= 0
    labels = empty_labels(n)
    labels["is_real"] = is_real
    chosen = match.row[is_real]
    labels["kind"][is_real] = changes.kind[chosen]
    labels["change"] = match.row
    labels["object_id"][is_real] = changes.object_id[chosen]
    labels["mag"][is_real] = changes.mag[chosen]
    labels["separation_arcsec"][is_real] = match.separation_arcsec[is_real]
    rest = ~is_real
    east, north = _plane(sources["ra"], sources["dec"], centre).T
    passing = known.passing
    ghosts = np.column_stack([_plane(passing["ra"], passing["dec"], centre), passing["flux"]])
    around = Surroundings(sources | {"east": east, "north": north}, known.artefacts, known.defects, ghosts)
    # A flux that is not above zero counts as the faintest there is.
    light = np.nan_to_num(flux[rest])
    kind, source = artefact_kinds(rows_of(candidates, rest), plane[rest], light, places, around)
    labels["kind"][rest] = kind
    of_source = np.flatnonzero(rest)[source >= 0]
    source = source[source >= 0]
    labels["object_id"][of_source] = sources["object_id"][source]
    away = plane[of_source] - np.column_stack([east, north])[source]
    labels["separation_arcsec"][of_source] = np.hypot(*away.T)
    return labels


def match_changes(
    plane: Floats, flux: Floats, positive: Truths, places: Floats, changes: Changes, config: LabelConfig
) -> Matches:
    """Return the change that each candidate is of: the nearest that fits in place, sign and amount.

    Where none fits alone, points that no image tells apart may fit together (supernovae of one galaxy): the
    candidate is then of that which gives most.

    Parameters
    ----------
    plane : (n, 2) float64, arcsec
        Of candidates on a tangent plane.
    flux : (n) float64
        Of candidates, both signs positive; NaN fits nothing.
    positive : (n) bool
    places : (m, 2) float64, arcsec
        Of changes on the same plane.
    changes : Changes (m)
    config : LabelConfig
    """
    row, nearest = np.full(len(plane), -1, np.int64), np.full(len(plane), np.inf)
    if not len(changes) or not len(plane):
        return Matches(row, nearest)
    pairs = _pairs(plane, places, changes, config.radius_arcsec)
    for candidate, change, away in pairs:
        share = np.abs(changes.flux[change]) / flux[candidate]
        fits = (changes.flux[change] > 0) == positive[candidate]
        fits &= share >= config.least_share
        fits &= (share <= config.most_share) | (changes.kind[change] == STREAK)
        fits &= away < nearest[candidate]
        order = np.flatnonzero(fits)[np.argsort(-away[fits], kind="stable")]  # the nearest is written last
        row[candidate[order]], nearest[candidate[order]] = change[order], away[order]
    candidate, change, away = _blends(pairs, row < 0, np.where(positive, flux, -flux), changes, config)
    row[candidate], nearest[candidate] = change, away
    return Matches(row, nearest)


def empty_labels(n: int) -> Columns:
    """Return labels of n candidates that say nothing yet."""
    return {
        "is_real": np.zeros(n, np.bool_),
        "kind": np.full(n, "", dtype="U20"),
        "object_id": np.full(n, -1, np.int64),
        "mag": np.full(n, np.nan),
        "separation_arcsec": np.full(n, np.nan),
        "change": np.full(n, -1, np.int64),
    }


def label_table(candid: NDArray[np.int64], labels: Columns) -> pa.Table:
    """Return labels as a table of `LABEL_SCHEMA`."""
    arrays = {name: pa.array(labels[name], from_pandas=True) for name in LABEL_SCHEMA.names[1:]}
    arrays["object_id"] = pa.array(labels["object_id"], mask=labels["object_id"] < 0)
    arrays["candid"] = pa.array(candid)
    return pa.Table.from_arrays([arrays[f.name].cast(f.type) for f in LABEL_SCHEMA], schema=LABEL_SCHEMA)


def _pairs(plane: Floats, places: Floats, changes: Changes, radius: float) -> list[Pairs]:
    """Return candidates and changes within a radius, and how far apart they are; streaks one by one."""
    is_streak = changes.kind == STREAK
    points = np.flatnonzero(~is_streak)
    found = []
    if len(points):
        pairs = cKDTree(plane).sparse_distance_matrix(
            cKDTree(places[points]), radius, output_type="coo_matrix"
        )
        found.append((pairs.row.astype(np.int64), points[pairs.col], np.asarray(pairs.data)))
    for streak in np.flatnonzero(is_streak):
        half = np.array([changes.trail_east[streak], changes.trail_north[streak]])
        away = plane - places[streak]
        along = np.clip(away @ half / max(float(half @ half), 1e-9), -1.0, 1.0)
        distance = np.hypot(*(away - along[:, None] * half).T)
        rows = np.flatnonzero(distance < radius)
        found.append((rows, np.full(len(rows), streak), distance[rows]))
    return found


def _blends(
    pairs: list[Pairs], is_left: Truths, flux: Floats, changes: Changes, config: LabelConfig
) -> Pairs:
    """Return those pairs of candidates left over (their flux signed) whose points fit together only.

    That which gives most comes last.
    """
    candidate, change, away = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    wanted = is_left[candidate] & (changes.kind[change] != STREAK)
    candidate, change, away = candidate[wanted], change[wanted], away[wanted]
    share = np.bincount(candidate, changes.flux[change], len(flux)) / flux
    fits = (share >= config.least_share) & (share <= config.most_share)
    gives = changes.flux[change] / flux[candidate]
    order = np.flatnonzero(fits[candidate])
    order = order[np.argsort(gives[order], kind="stable")]
    return candidate[order], change[order], away[order]


def _plane(ra: Any, dec: Any, centre: tuple[float, float]) -> Floats:
    return np.column_stack(tangent.project(ra, dec, centre))
