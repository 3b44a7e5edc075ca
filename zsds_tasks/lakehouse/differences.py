"""What changed in a table between two versions or releases, and which processing caused it: ``zsds diff``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from zsds_tasks.lakehouse.difference_causes import Cause, Counts, Tally
from zsds_tasks.lakehouse.difference_columns import ColumnDifference, ColumnTally, Example, ExampleKeeper
from zsds_tasks.lakehouse.difference_origins import VERSION, Origin, images_of
from zsds_tasks.lakehouse.difference_references import references_of
from zsds_tasks.lakehouse.difference_rows import ROWS_AT_ONCE, iterate_differences, unshared
from zsds_tasks.lakehouse.difference_states import TableState, state_of

if TYPE_CHECKING:
    from zsds_tasks.lakehouse.lakehouse import Lakehouse


@dataclass(frozen=True)
class TableDifference:
    """What changed in a table. See `Cause` for what explains it."""

    table: str
    key: tuple[str, ...]
    before: str
    after: str
    rows_before: int
    rows_after: int
    added: int
    removed: int
    changed: int
    columns: tuple[ColumnDifference, ...]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    columns_altered: tuple[str, ...]
    """Columns of another type than before."""
    causes: tuple[Cause, ...]
    explained: str
    """How `causes` were found, or why there are none."""
    nights: Mapping[str, Counts]
    """Rows added, removed and changed by observing night, where nights can be told."""
    rows_compared: int
    """Rows of both states that were read; those of shared files were not."""
    images: int = 0
    """Images whose rows differ; 0 for tables that name none."""
    examples: tuple[Example, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether rows and columns are the same."""
        rows = self.added or self.removed or self.changed
        return not (rows or self.columns_added or self.columns_removed or self.columns_altered)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def compare_tables(
    lakehouse: Lakehouse, name: str, before: str, after: str, *, examples: int = 0
) -> TableDifference:
    """Compare two versions or releases of a table.

    Parameters
    ----------
    lakehouse : Lakehouse
    name : str
        A declared table.
    before, after : str
        Delta versions (``12``) or releases (``dr1``).
    examples : int
        At most this many differing rows of each kind are shown.

    Returns
    -------
    TableDifference

    Raises
    ------
    UnusableInputError, ConfigurationError
        If there is no such table, version or release, or its files are gone.
    """
    states = state_of(lakehouse, name, before), state_of(lakehouse, name, after)
    return compare_states(lakehouse, *states, examples=examples)


def compare_states(
    lakehouse: Lakehouse,
    before: TableState,
    after: TableState,
    *,
    examples: int = 0,
    rows_at_once: int = ROWS_AT_ONCE,
) -> TableDifference:
    """Compare two states of a table; see `compare_tables`."""
    key = lakehouse.table(after.table).declaration.key
    shared = [name for name in after.schema.names if name in before.schema.names]
    tally = Tally(frozenset(shared), _origin(before, after))
    columns, shown = ColumnTally(), ExampleKeeper(key, examples)
    added = removed = changed = 0
    for rows in iterate_differences(before, after, key, rows_at_once=rows_at_once):
        added += rows.added.num_rows
        removed += rows.removed.num_rows
        changed += rows.after.num_rows
        tally.add(rows)
        columns.add(rows)
        shown.add(rows)
    causes, explained, nights = _explain(lakehouse, before, after, tally, added + removed + changed)
    types = {name: (before.schema.field(name).type, after.schema.field(name).type) for name in shared}
    return TableDifference(
        table=after.table,
        key=key,
        before=before.label,
        after=after.label,
        rows_before=before.rows,
        rows_after=after.rows,
        added=added,
        removed=removed,
        changed=changed,
        columns=columns.found(),
        columns_added=tuple(name for name in after.schema.names if name not in shared),
        columns_removed=tuple(name for name in before.schema.names if name not in shared),
        columns_altered=tuple(name for name, (old, new) in types.items() if old != new),
        causes=tuple(causes),
        explained=explained,
        nights=nights,
        rows_compared=sum(file.rows for files in unshared(before, after) for file in files),
        images=tally.images,
        examples=tuple(shown.rows),
    )


def _explain(
    lakehouse: Lakehouse, before: TableState, after: TableState, tally: Tally, differing: int
) -> tuple[list[Cause], str, Mapping[str, Counts]]:
    """Return the causes, how they were found, and the nights."""
    nights = tally.nights_by_rows()
    if differing == 0:
        return [], "nothing differs", nights
    by_version = VERSION in tally.columns
    causes = tally.causes_by_version() if by_version else []
    origin = tally.origin
    if origin is None or (by_version and nights):
        how = (
            "by the rows' own processing versions" if by_version else "its rows name no images and no version"
        )
        return causes, how, nights
    images = [images_of(lakehouse, state, origin) for state in (before, after)]
    if images[0] is None or images[1] is None:
        how = (
            "by the rows' own processing versions" if by_version else "the images of one state are not known"
        )
        return causes, how, nights
    nights = nights or tally.nights_by_images(images[0], images[1])
    if by_version:
        return causes, "by the rows' own processing versions", nights
    old, new = references_of(lakehouse, before), references_of(lakehouse, after)
    references = None if old is None or new is None else (old, new)
    return tally.causes_by_images(images[0], images[1], references), origin.told, nights


def _origin(before: TableState, after: TableState) -> Origin | None:
    """Return what leads to images, if it does in both states."""
    old, new = Origin.of(before.schema), Origin.of(after.schema)
    return new if old == new else None
