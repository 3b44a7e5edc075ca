"""A release, opened: cones, identifiers, light curves, and doors to LSDB, DuckDB, Polars and Arrow."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zsds_tasks.catalog import engines, search
from zsds_tasks.catalog.light_curve import COLUMNS, LightCurve, light_curves_of
from zsds_tasks.catalog.opening import find
from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse.id_index import id_column
from zsds_tasks.settings import load_settings
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.survey import load_survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    import pyarrow.compute as pc
    from numpy.typing import ArrayLike

    from zsds_tasks.catalog.opening import Found
    from zsds_tasks.catalog.source import Partition, Source
    from zsds_tasks.settings import Settings

LIGHT_CURVES, OBJECTS = "lightcurves", "objects"
SAME_STAR_ARCSEC = 1.5
"""Light curves so close together are taken for one star's, where no table of objects says it."""
MEMBERS_WITHIN_ARCSEC = 60.0
"""Its object is looked for so far around a light curve: no star moves as much between two references."""


def open_catalog(release: int | str | None = None, settings: Settings | None = None) -> Catalog:
    """Open a release.

    Parameters
    ----------
    release : int, str or None
        A number or ``dr<N>``; ``live`` for the tables as they are at this moment; ``publications`` for the
        newest publication of each table; by default the newest release, or publications if there is none.
    settings : Settings, optional
        By default those of the environment.

    Returns
    -------
    Catalog
        Nothing is read until asked for; ``live`` stays, table by table, at the version a table had when it
        was first asked for. A withdrawn release warns.

    Raises
    ------
    UnusableInputError
        If there is no such release.
    NothingToDoError
        If nothing was ever published.
    """
    settings = settings or load_settings()
    found = find(release, settings)
    if found.warning:
        warnings.warn(found.warning, UserWarning, stacklevel=2)
    return Catalog(found, settings)


class Catalog:
    """The tables of one release. Obtain one with `open_catalog`, and keep it: it remembers what it read.

    Parameters
    ----------
    found : Found
    settings : Settings
    """

    def __init__(self, found: Found, settings: Settings) -> None:
        self._found = found
        self._settings = settings
        self._sources: dict[str, Source] = {}

    def __repr__(self) -> str:
        return f"Catalog({self.release}: {', '.join(self.tables)})"

    @property
    def release(self) -> str:
        """``dr<N>``, ``live`` or ``publications``."""
        return self._found.name

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(sorted(self._found.makers))

    def source(self, table: str) -> Source:
        """Return where a table lies: its ``uri``, ``rows``, ``schema`` (with units, UCDs and descriptions).

        Raises
        ------
        UnusableInputError
            If the release has no such table.
        """
        if table not in self._sources:
            if table not in self._found.makers:
                raise UnusableInputError(
                    f"has no table {table!r}", subject=self.release, remedy=f"it has {', '.join(self.tables)}"
                )
            self._sources[table] = self._found.makers[table]()
        return self._sources[table]

    def cone(
        self, table: str, ra: float, dec: float, radius_arcsec: float, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return the rows of a table within a cone, nearest first; see `zsds_tasks.catalog.search.cone`."""
        return search.cone(self.source(table), (float(ra), float(dec)), float(radius_arcsec), columns)

    def cones(
        self, table: str, positions: ArrayLike, radius_arcsec: float, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return the rows around each of many positions (n, 2), with the position's row and the distance.

        See `zsds_tasks.catalog.search.cones`.
        """
        return search.cones(self.source(table), positions, float(radius_arcsec), columns)

    def ids(
        self, table: str, identifiers: ArrayLike, columns: Sequence[str] | None = None, by: str | None = None
    ) -> pa.Table:
        """Return the rows of identifiers, in their order; see `zsds_tasks.catalog.search.ids`.

        Parameters
        ----------
        table : str
        identifiers : array_like (n), int64
        columns : sequence of str, optional
            By default all.
        by : str, optional
            The column that holds them; by default the main identifier of the table.
        """
        source = self.source(table)
        column = by or id_column(source.schema)
        if column is None:
            raise UnusableInputError(
                "has no one column that identifies rows", subject=table, remedy="say by which column"
            )
        source.known([column])
        return search.ids(source, column, identifiers, columns)

    def light_curve(self, objectid: int) -> LightCurve:
        """Return the light curve of an identifier of table ``lightcurves``.

        Raises
        ------
        UnusableInputError
            If there is none.
        """
        found = self._curves(search.ids(self.source(LIGHT_CURVES), "objectid", [objectid], COLUMNS))
        if not found:
            raise UnusableInputError(
                "has no light curve in this release",
                subject=f"{self.release} {objectid}",
                remedy="look for it by position, or in release 'live'",
            )
        return found[0]

    def light_curves(self, objectid: int) -> list[LightCurve]:
        """Return all light curves of the star that an identifier belongs to, all filters and fields.

        Parameters
        ----------
        objectid : int
            Of an object, or of one of its light curves.

        Returns
        -------
        list of LightCurve
            By table ``objects`` where the release has it, else by position. Ordered by filter and field.

        Raises
        ------
        UnusableInputError
            If there is no such object.
        """
        star = self.object_of(objectid) if OBJECTS in self.tables else None
        if star is not None:
            members = [objectid, *star["members"]["objectid"]]
            rows = search.ids(self.source(LIGHT_CURVES), "objectid", sorted(set(members)), COLUMNS)
        else:
            one = self.light_curve(objectid)
            rows = self.cone(LIGHT_CURVES, one.ra, one.dec, SAME_STAR_ARCSEC, COLUMNS)
        return sorted(self._curves(rows), key=lambda curve: (curve.filterid, curve.fieldid, curve.rcid))

    def light_curves_near(self, ra: float, dec: float, radius_arcsec: float) -> list[LightCurve]:
        """Return the light curves within a cone, nearest first."""
        return self._curves(self.cone(LIGHT_CURVES, ra, dec, radius_arcsec, COLUMNS))

    def object_of(self, objectid: int) -> dict[str, Any] | None:
        """Return the row of table ``objects`` that an identifier names or belongs to; None if there is none.

        An object is named after one of its light curves; the others are found by their place.
        """
        rows = self.ids(OBJECTS, [objectid]).to_pylist()
        if not rows and LIGHT_CURVES in self.tables:
            place = self.ids(LIGHT_CURVES, [objectid], ["objra", "objdec"]).to_pylist()
            near = [
                self.cone(OBJECTS, one["objra"], one["objdec"], MEMBERS_WITHIN_ARCSEC).to_pylist()
                for one in place
            ]
            rows = [row for found in near for row in found if objectid in row["members"]["objectid"]]
        return rows[0] if rows else None

    def arrow(
        self, table: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Return rows of a table as Arrow, in the order of the sky.

        Parameters
        ----------
        table : str
        columns : sequence of str, optional
            By default all.
        where : pyarrow.compute.Expression, optional
            For example ``pc.field("period") < 1.0``.
        """
        source = self.source(table)
        return source.dataset().to_table(columns=source.known(columns), filter=where)

    def partitions(self, table: str, columns: Sequence[str] | None = None) -> list[Partition]:
        """Return the files of a table, for work on all of it in pieces; each has ``.read()``."""
        return self.source(table).partitions(columns)

    def lsdb(self, table: str, **options: Any) -> Any:
        """Return a table as an LSDB catalogue; `options` are those of ``lsdb.open_catalog``."""
        return engines.lsdb_catalog(self.source(table), self._settings, **options)

    def duckdb(self) -> Any:
        """Return a DuckDB connection of its own with a view for each table."""
        return engines.duckdb_connection({table: self.source(table) for table in self.tables})

    def polars(self, table: str) -> Any:
        """Return a table as a Polars LazyFrame."""
        return engines.polars_frame(self.source(table))

    @cached_property
    def _filters(self) -> dict[int, str]:
        include = self._settings.include
        survey = load_survey(load_camera(self._settings.camera, include).survey, include)
        return {known.fid: known.name for known in survey.filters}

    def _curves(self, rows: pa.Table) -> list[LightCurve]:
        return light_curves_of(rows, self._filters)
