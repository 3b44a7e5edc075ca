"""Rows around positions and rows of identifiers, from any `Source`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from zsds_tasks.catalog.row_groups import integers_of
from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse.near import cells_around
from zsds_tasks.products.tables import INDEX_COLUMN
from zsds_tasks.sky import healpix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zsds_tasks.catalog.source import Source

POSITION = "position"
DISTANCE = "distance"
_POSITION_FIELD = pa.field(
    POSITION,
    pa.int64(),
    metadata={"unit": "", "ucd": "meta.number", "description": "Row of the position asked for."},
)
_DISTANCE_FIELD = pa.field(
    DISTANCE,
    pa.float64(),
    metadata={
        "unit": "arcsec",
        "ucd": "pos.angDistance",
        "description": "Distance from the position asked for.",
    },
)
WIDEST_OF_MANY_ARCSEC = 3600.0
"""Circles around many positions are no wider: what one of them holds is kept in memory."""


def cone(
    source: Source,
    centre: tuple[float, float],
    radius_arcsec: float,
    columns: Sequence[str] | None = None,
    *,
    with_distance: bool = False,
) -> pa.Table:
    """Return the rows within a cone, nearest first.

    Parameters
    ----------
    source : Source
    centre : tuple of float
        Right ascension and declination (ICRS), degrees.
    radius_arcsec : float
        Up to 180 degrees.
    columns : sequence of str, optional
        By default all.
    with_distance : bool
        Add a column ``distance``, arcsec, before the others.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    UnusableInputError
        If the table has no place on the sky, a column is unknown, or the cone is none.
    """
    names, (ra, dec) = source.known(columns), _placed(source)
    _check_cone(source.name, *centre, radius_arcsec)
    radius_deg = radius_arcsec / 3600.0
    ranges = healpix.cone_ranges(*centre, radius_deg)
    wanted = _schema_of(source, [*names, ra, dec])

    def inside(rows: pa.Table) -> pa.Table:
        alpha, delta = (rows.column(name).to_numpy() for name in (ra, dec))
        return rows.filter(pa.array(healpix.within_cone(alpha, delta, centre, radius_deg)))

    found = source.groups.each(source.files(ranges), INDEX_COLUMN, ranges, wanted, inside)
    vectors = healpix.unit_vectors(found.column(ra).to_numpy(), found.column(dec).to_numpy())
    distance = _arcsec(np.linalg.norm(vectors - healpix.unit_vectors(*centre), axis=1))
    order = np.argsort(distance, kind="stable")
    rows = found.take(pa.array(order)).select(names)
    return rows.add_column(0, _DISTANCE_FIELD, pa.array(distance[order])) if with_distance else rows


def cones(
    source: Source, positions: ArrayLike, radius_arcsec: float, columns: Sequence[str] | None = None
) -> pa.Table:
    """Return the rows around each of many positions.

    Parameters
    ----------
    source : Source
    positions : array_like (n, 2)
        Right ascension and declination (ICRS), degrees.
    radius_arcsec : float
        Up to a degree.
    columns : sequence of str, optional
        By default all.

    Returns
    -------
    pyarrow.Table
        A row for each pair, in the order of the positions, nearest first; column ``position`` holds the row
        of the position, ``distance`` how far, arcsec.

    Raises
    ------
    UnusableInputError
        As `cone`.
    """
    names, (ra, dec) = source.known(columns), _placed(source)
    centres = np.asarray(positions, np.float64)
    if centres.ndim != 2 or centres.shape[1] != 2:
        raise UnusableInputError(
            f"positions have shape {centres.shape}",
            subject=source.name,
            remedy="give (n, 2): ra, dec in degrees",
        )
    if radius_arcsec > WIDEST_OF_MANY_ARCSEC:
        raise UnusableInputError(
            f"{radius_arcsec} arcsec around many positions is too wide",
            subject=source.name,
            remedy=f"stay within {WIDEST_OF_MANY_ARCSEC:g} arcsec, or ask for one cone after the other",
        )
    for row in np.flatnonzero(~_is_cone(centres[:, 0], centres[:, 1], radius_arcsec))[:1]:
        _check_cone(f"{source.name}, position {row}", centres[row, 0], centres[row, 1], radius_arcsec)
    wanted = _schema_of(source, [*names, ra, dec])
    vectors = healpix.unit_vectors(centres[:, 0], centres[:, 1])
    chord = 2.0 * np.sin(np.radians(radius_arcsec / 3600.0) / 2.0) * (1.0 + 1e-12)
    tree = cKDTree(vectors) if len(vectors) else None

    def pairs(rows: pa.Table) -> pa.Table:
        places = healpix.unit_vectors(rows.column(ra).to_numpy(), rows.column(dec).to_numpy())
        near = tree.query_ball_point(places, chord) if tree is not None and len(places) else []
        row = np.repeat(np.arange(len(near)), [len(one) for one in near]) if len(near) else np.empty(0, int)
        position = np.array([number for one in near for number in one], np.int64)
        arcsec = _arcsec(np.linalg.norm(places[row] - vectors[position], axis=1))
        chosen = rows.take(pa.array(row)).select(names)
        return chosen.add_column(0, _POSITION_FIELD, pa.array(position)).add_column(
            1, _DISTANCE_FIELD, pa.array(arcsec)
        )

    _refuse_clash(source, names)
    ranges = cells_around(vectors, radius_arcsec)
    found = source.groups.each(source.files(ranges), INDEX_COLUMN, ranges, wanted, pairs)
    return found.sort_by([(POSITION, "ascending"), (DISTANCE, "ascending")])


def ids(
    source: Source, column: str, identifiers: ArrayLike, columns: Sequence[str] | None = None
) -> pa.Table:
    """Return the rows of identifiers, in the order of the identifiers.

    Parameters
    ----------
    source : Source
    column : str
        Holds identifiers, int64.
    identifiers : array_like (n), int64
    columns : sequence of str, optional
        By default all.

    Returns
    -------
    pyarrow.Table
        Identifiers that are not there have no row.

    Raises
    ------
    UnusableInputError
        If a column is unknown or holds no integers, or an identifier is no integer.
    """
    names = source.known([*(columns or source.names), column])
    if not pa.types.is_integer(source.schema.field(column).type):
        raise UnusableInputError(
            f"column {column} holds no integers",
            subject=source.name,
            remedy="select with .arrow(table, where=...)",
        )
    names = source.known(columns)
    wanted_ids = _integers(source.name, identifiers)
    wanted = _schema_of(source, [*names, column])
    asked = np.unique(wanted_ids)

    def keep(rows: pa.Table) -> pa.Table:
        return rows.filter(pa.array(np.isin(integers_of(rows.column(column)), asked)))

    files, by, ranges = source.files_of(column, asked)
    found = source.groups.each(files, by, ranges, wanted, keep)
    first = {int(one): place for place, one in reversed(list(enumerate(wanted_ids.tolist())))}
    order = np.argsort([first[one] for one in found.column(column).to_pylist()], kind="stable")
    return found.take(pa.array(order.astype(np.int64))).select(names)


def _arcsec(chord: NDArray[np.float64]) -> NDArray[np.float64]:
    angle: NDArray[np.float64] = np.degrees(2.0 * np.arcsin(np.minimum(chord / 2.0, 1.0))) * 3600.0
    return angle


def _integers(subject: str, identifiers: ArrayLike) -> NDArray[np.int64]:
    given = np.atleast_1d(np.asarray(identifiers))
    if given.size == 0:
        return np.empty(0, np.int64)
    if given.dtype.kind not in "iu" or given.ndim != 1:
        raise UnusableInputError(
            f"{identifiers!r} are no identifiers", subject=subject, remedy="give integers"
        )
    return given.astype(np.int64)


def _placed(source: Source) -> tuple[str, str]:
    if source.position is None:
        raise UnusableInputError(
            "is not laid out over the sky", subject=source.name, remedy="read it with .arrow() or .duckdb()"
        )
    return source.position


def _schema_of(source: Source, names: Sequence[str]) -> pa.Schema:
    return pa.schema([source.schema.field(name) for name in dict.fromkeys(names)])


def _is_cone(ra: ArrayLike, dec: ArrayLike, radius_arcsec: float) -> NDArray[np.bool_]:
    place = np.isfinite(ra) & (np.abs(dec) <= 90.0)
    return np.atleast_1d(place & (0.0 < radius_arcsec <= 180.0 * 3600.0))


def _check_cone(subject: str, ra: float, dec: float, radius_arcsec: float) -> None:
    if not _is_cone(ra, dec, radius_arcsec)[0]:
        raise UnusableInputError(
            f"({ra}, {dec}) deg with radius {radius_arcsec} arcsec is no cone",
            subject=subject,
            remedy="give a finite ra, dec from -90 to 90, and a radius above 0",
        )


def _refuse_clash(source: Source, names: Sequence[str]) -> None:
    taken = {POSITION, DISTANCE} & set(names)
    if taken:
        raise UnusableInputError(
            f"has a column {', '.join(sorted(taken))} of its own", subject=source.name, remedy="leave it out"
        )
