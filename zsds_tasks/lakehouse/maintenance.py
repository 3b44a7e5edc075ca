"""Sweep the archive: FITS products no row points to, and what killed writers left half written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zsds_tasks.lakehouse import paths
from zsds_tasks.lakehouse.storage import TEMPORARY_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Collection

    from zsds_tasks.lakehouse.storage import Storage


@dataclass(frozen=True)
class Sweep:
    """What a sweep removed."""

    orphans: tuple[str, ...]
    """Derived FITS products without a row; raw frames, which nobody can make again, are never swept."""
    temporaries: tuple[str, ...]
    """Files that were being written when their writer died."""
    bytes_freed: int


def sweep(
    storage: Storage,
    referenced: Collection[str],
    *,
    older_than_hours: float = 24.0,
    now: float | None = None,
    dry_run: bool = False,
) -> Sweep:
    """Delete products no row points to and stale temporaries.

    Parameters
    ----------
    storage : Storage
    referenced : collection of str
        Paths that rows point to, relative to the root; collect them **before** the call. A product is written
        before its row, so that a young file without a row is normal: only age makes it an orphan.
    older_than_hours : float
        Leave younger files alone. Must exceed the time between writing a product and committing its row.
    now : float, optional
        Seconds since 1970; by default the clock.
    dry_run : bool
        Only say what would go.

    Returns
    -------
    Sweep
    """
    latest = (time.time() if now is None else now) - older_than_hours * 3600.0
    kept = set(referenced)
    orphans, temporaries, freed = [], [], 0
    for entry in storage.list():
        if entry.modified > latest:
            continue
        if entry.path.endswith(TEMPORARY_SUFFIX):
            temporaries.append(entry.path)
        elif entry.path.partition("/")[0] in paths.DERIVED and entry.path not in kept:
            orphans.append(entry.path)
        else:
            continue
        freed += entry.size
        if not dry_run:
            storage.delete(entry.path)
    return Sweep(tuple(orphans), tuple(temporaries), freed)
