"""One table: read it, change it by key or by condition, go back in time.

Upkeep (compact, repartition, vacuum) lies in `zsds_tasks.lakehouse.upkeep`, publication to HATS in
`zsds_tasks.lakehouse.publish`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from zsds_tasks.errors import TransientError, UnusableInputError
from zsds_tasks.lakehouse import delta, evolution, layout, paths, upkeep
from zsds_tasks.lakehouse.changes import plan_change
from zsds_tasks.lakehouse.cones import read_cone
from zsds_tasks.lakehouse.history import read_history
from zsds_tasks.lakehouse.identity import refuse_doubled_keys
from zsds_tasks.lakehouse.predicates import Where, conditions_of, mask_of
from zsds_tasks.lakehouse.snapshot import Snapshot
from zsds_tasks.lakehouse.transactions import Commit, apply_plans
from zsds_tasks.products.tables import TableDeclaration, arrow_schema, conform, empty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import pyarrow.dataset as ds

    from zsds_tasks.lakehouse.storage import Storage


class Table:
    """One table of the lakehouse.

    Parameters
    ----------
    storage : Storage
    declaration : TableDeclaration
    """

    def __init__(self, storage: Storage, declaration: TableDeclaration) -> None:
        self.storage = storage
        self.declaration = declaration
        self.folder = paths.table(declaration.table)
        self.location = delta.Location(storage, self.folder, declaration)

    @property
    def name(self) -> str:
        """The table's name."""
        return self.declaration.table

    @property
    def uri(self) -> str:
        """Where Delta readers find it."""
        return self.storage.uri(self.folder)

    def exists(self) -> bool:
        """Say whether anything was ever written."""
        return delta.open_delta(self.location) is not None

    def version(self) -> int | None:
        """Return the newest version; None if nothing was ever written."""
        table = delta.open_delta(self.location)
        return None if table is None else int(table.version())

    def snapshot(self, version: int | datetime | None = None) -> Snapshot | None:
        """Return the live files of a version, by default the newest; None if nothing was ever written."""
        table = delta.open_delta(self.location, version=version)
        if table is None:
            return None
        if version is None:
            evolution.reconcile(table, self.declaration)
        return Snapshot(self.location, table)

    def count(self, where: Where | None = None, *, version: int | datetime | None = None) -> int:
        """Return the number of rows, all or those that meet conditions."""
        if where:
            return self.read(list(self.declaration.key), where, version=version).num_rows
        snapshot = self.snapshot(version)
        return snapshot.rows if snapshot else 0

    def read(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        version: int | datetime | None = None,
    ) -> pa.Table:
        """Return rows, sorted by key.

        Parameters
        ----------
        columns : sequence of str, optional
            By default all declared ones; ``_healpix_29`` may be asked for.
        where : mapping, optional
            Column -> scalar | list (one of) | (low, high), a half-open range, None for an open end; all
            must hold.
        version : int or datetime, optional
            Go back in time: to a version, or to what was newest at a moment.

        Returns
        -------
        pyarrow.Table
            Empty if nothing was ever written.

        Raises
        ------
        UnusableInputError
            If a column is unknown or a value does not fit it.
        """
        schema = arrow_schema(self.declaration)
        names = self._known(columns)
        conditions = conditions_of(where, schema, subject=self.name)

        def load(snapshot: Snapshot) -> pa.Table:
            needed = [*names, *(name for name in self.declaration.key if name not in names)]
            files = snapshot.files_that_may_match(conditions)
            return snapshot.load(files, needed, conditions)

        found = self.on_snapshot(load, version)
        if found is None:
            return empty(self.declaration) if columns is None else _none_of(schema, names)
        return found.sort_by([(name, "ascending") for name in self.declaration.key]).select(names)

    def cone(
        self,
        ra_deg: float,
        dec_deg: float,
        radius_arcsec: float,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return rows within a great-circle distance of a position, sorted by key.

        Raises
        ------
        UnusableInputError
            If the table is not laid out over the sky, or a column or the position does not exist.
        """
        names = self._known(columns)
        partition = self.declaration.healpix
        if partition is None:
            raise UnusableInputError(
                "is not laid out over the sky", subject=self.name, remedy="read it with conditions instead"
            )
        found = self.on_snapshot(
            lambda snapshot: read_cone(snapshot, self.declaration, (ra_deg, dec_deg), radius_arcsec, names)
        )
        return _none_of(arrow_schema(self.declaration), names) if found is None else found

    def dataset(self, *, version: int | datetime | None = None) -> ds.Dataset:
        """Return the live files as a pyarrow dataset, for DuckDB, Polars and the like.

        Raises
        ------
        UnusableInputError
            If nothing was ever written.
        """
        snapshot = self.snapshot(version)
        if snapshot is None:
            raise UnusableInputError(
                "nothing was ever written", subject=self.uri, remedy="merge some rows first"
            )
        return snapshot.dataset(snapshot.files)

    def history(self) -> list[dict[str, Any]]:
        """Return the versions, newest first: version, time (UTC), operation, and what changed."""
        return read_history(self.location)

    def merge(self, rows: pa.Table | Sequence[Mapping[str, Any]]) -> Commit:
        """Insert rows, replacing those of the same key, in one commit.

        Parameters
        ----------
        rows : pyarrow.Table or sequence of mappings
            See `zsds_tasks.products.tables.conform`. A row may have moved to another place on the sky.

        Returns
        -------
        Commit
            With version None if every row is there already with the same content.

        Raises
        ------
        UnusableInputError
            If the rows do not conform, or two have the same key.
        TransientError
            If other writers or the storage are in the way.
        """
        return self._change("merge", rows, None)

    def replace(self, rows: pa.Table | Sequence[Mapping[str, Any]], where: Where) -> Commit:
        """Put rows in the place of all rows that meet conditions, in one commit.

        Parameters
        ----------
        rows : pyarrow.Table or sequence of mappings
            All must meet the conditions themselves. Rows of the same key are replaced wherever they are.
        where : mapping
            See `read`.

        Returns
        -------
        Commit
            With version None if the table is already as wanted.

        Raises
        ------
        UnusableInputError, TransientError
            As `merge`; also if a row does not meet the conditions.
        """
        return self._change("replace", rows, where)

    def delete(self, where: Where) -> Commit:
        """Delete all rows that meet conditions, in one commit."""
        return self._change("delete", empty(self.declaration), where)

    def compact(self) -> Commit:
        """Give each pixel one file; see `upkeep.compact`."""
        return upkeep.compact(self.location)

    def repartition(self) -> Commit:
        """Split pixels that are too full; see `upkeep.repartition`."""
        return upkeep.repartition(self.location)

    def vacuum(self, retention_hours: float = 168.0) -> list[str]:
        """Delete files no recent version needs; see `upkeep.vacuum`."""
        return upkeep.vacuum(self.location, retention_hours)

    def _change(
        self, operation: str, rows: pa.Table | Sequence[Mapping[str, Any]], where: Where | None
    ) -> Commit:
        incoming = layout.as_stored(conform(rows, self.declaration), self.declaration)
        schema = arrow_schema(self.declaration)
        conditions = None if where is None else conditions_of(where, schema, subject=self.name)
        refuse_doubled_keys(incoming, self.declaration.key, subject=self.name)
        if conditions is not None:
            met = mask_of(conditions, incoming)
            if not met.all():
                raise UnusableInputError(
                    f"row {int(met.argmin())} does not meet the conditions of the replacement",
                    subject=self.name,
                    remedy="replace exactly the rows the conditions select",
                )
        if incoming.num_rows == 0 and (conditions is None or not self.exists()):
            return Commit(None)
        return apply_plans(
            self.location,
            operation,
            lambda snapshot: plan_change(snapshot, incoming, self.declaration, conditions),
        )

    def _known(self, columns: Sequence[str] | None) -> list[str]:
        if columns is None:
            return list(self.declaration.names)
        known = arrow_schema(self.declaration).names
        unknown = [name for name in columns if name not in known]
        if unknown:
            raise UnusableInputError(
                f"unknown column {', '.join(unknown)}",
                subject=self.name,
                remedy=f"columns are {', '.join(known)}",
            )
        return list(columns)

    def on_snapshot(
        self, load: Callable[[Snapshot], Any], version: int | datetime | None = None
    ) -> Any | None:
        """Load from a snapshot; once more from a newer one if a vacuum removed its files meanwhile."""
        for last in (False, True):
            snapshot = self.snapshot(version)
            if snapshot is None:
                return None
            try:
                return load(snapshot)
            except FileNotFoundError as error:
                if last or version is not None:
                    raise TransientError(
                        f"version {snapshot.version} is no longer whole: {error}",
                        subject=self.uri,
                        remedy="read a newer version; vacuum removes what old ones need",
                    ) from error
        return None


def _none_of(schema: pa.Schema, names: Sequence[str]) -> pa.Table:
    return pa.schema([schema.field(name) for name in names]).empty_table()
