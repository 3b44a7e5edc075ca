"""Which reference the stars of each unit came from: another one gives other stars, and other rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from zsds_tasks.errors import ConfigurationError, TransientError
from zsds_tasks.lakehouse import paths
from zsds_tasks.lakehouse.difference_origins import MATCHED_UNITS, UNITS, settled
from zsds_tasks.lakehouse.difference_rows import compare_rows
from zsds_tasks.lakehouse.difference_states import TableState
from zsds_tasks.lakehouse.releases import UNITS_FILE

if TYPE_CHECKING:
    from zsds_tasks.lakehouse.lakehouse import Lakehouse

OF_UNITS = (*UNITS[0], "rfid", "rfversion")


def references_of(lakehouse: Lakehouse, state: TableState) -> pa.Table | None:
    """Return the reference of each unit at a state: field, fid, rcid, rfid, rfversion; None if gone."""
    if state.release is None:
        return references_at(lakehouse, settled(lakehouse, state))
    filesystem, prefix = lakehouse.storage.arrow()
    place = prefix + paths.release_file(state.release.number, UNITS_FILE)
    try:
        return pq.read_table(place, filesystem=filesystem)
    except FileNotFoundError:
        return None


def references_at(lakehouse: Lakehouse, moment: datetime | None) -> pa.Table | None:
    """Return the same at a moment, by default now; errors of the storage are raised of what is there now."""
    try:
        return lakehouse.table(MATCHED_UNITS).read(OF_UNITS, version=moment)
    except (ConfigurationError, TransientError):
        if moment is None:
            raise
        return None  # younger than that moment, or vacuumed since


def reference_changes(
    before: pa.Table, after: pa.Table
) -> Iterator[tuple[dict[str, Any], tuple[str, str, str]]]:
    """Yield units whose stars came from another reference, each with the cause that follows."""
    found = compare_rows(before, after, UNITS[0])
    for was, now in zip(found.before.to_pylist(), found.after.to_pylist(), strict=True):
        yield now, ("reference changed", _told(was), _told(now))


def _told(unit: dict[str, Any]) -> str:
    return f"version {unit['rfversion']}" if unit["rfid"] else "none"
