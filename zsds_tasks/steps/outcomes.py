"""What steps that work through many things have in common: one that fails is told, the others go on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from zsds_tasks.errors import ConfigurationError, TransientError, UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.tables import empty, load_table

SHOWN = 20


@dataclass(frozen=True)
class Outcome:
    """What came of one piece of work.

    Parameters
    ----------
    work : object
    tables : dict of pyarrow.Table or None
        Rows by table; None if it failed.
    reason : str
        Of the failure, with what it befell.
    """

    work: Any
    tables: dict[str, pa.Table] | None
    reason: str = ""


def attempt(work: Any, subject: str, make: Callable[[], dict[str, pa.Table]]) -> Outcome:
    """Return what came of making the rows of one piece of work, which stays due if that fails.

    Raises
    ------
    TransientError, ConfigurationError
        If the failure is not its own, see `reason_of`.
    """
    try:
        return Outcome(work, make())
    except Exception as error:  # noqa: BLE001 - one must not stop the others
        reason = reason_of(error, subject)
        return Outcome(work, None, reason if subject in reason else f"{subject}: {reason}")


def nothing_of(tables: Iterable[str]) -> dict[str, pa.Table]:
    """Return no rows of each table: what is made of work whose cause is no more."""
    return {name: empty(load_table(name)) for name in tables}


def batches(
    outcomes: Iterable[Outcome], rows_at_once: int, counted: str, *, together: Callable[[Any], Hashable]
) -> Iterator[list[Outcome]]:
    """Yield outcomes some at a time.

    Parameters
    ----------
    outcomes : iterable of Outcome
    rows_at_once : int
        A batch is full once it has so many rows of table ``counted``.
    counted : str
    together : callable
        Of a piece of work; what has the same value as the one before stays in its batch.
    """
    batch: list[Outcome] = []
    rows = 0
    for outcome in outcomes:
        is_apart = bool(batch) and together(batch[-1].work) != together(outcome.work)
        if rows >= rows_at_once and is_apart:
            yield batch
            batch, rows = [], 0
        batch.append(outcome)
        rows += outcome.tables[counted].num_rows if outcome.tables is not None else 0
    if batch:
        yield batch


def replace_units(lakehouse: Lakehouse, name: str, batch: Iterable[Outcome]) -> None:
    """Replace the rows of units (work with a ``key``) in a table, in one commit for each field and filter."""
    groups: dict[tuple[int, int], list[Outcome]] = {}
    for outcome in batch:
        if outcome.tables is not None:
            groups.setdefault(outcome.work.key[:2], []).append(outcome)
    columns = load_table(name).names
    names = ("fieldid", "filterid") if "fieldid" in columns else ("field", "fid")
    for (field, fid), outcomes in groups.items():
        where = {names[0]: field, names[1]: fid, "rcid": [outcome.work.key[2] for outcome in outcomes]}
        rows = [outcome.tables[name] for outcome in outcomes if outcome.tables is not None]
        lakehouse.table(name).replace(pa.concat_tables(rows), where)


def reason_of(error: Exception, subject: str) -> str:
    """Return why one thing failed, for its row.

    Raises
    ------
    TransientError, ConfigurationError
        If the failure is not that thing's own: the error itself, or a `TransientError` where memory ran out.
    """
    if isinstance(error, TransientError | ConfigurationError):
        raise error
    if isinstance(error, MemoryError):  # of this machine, now; not of this image
        raise TransientError(
            "memory ran out", subject=subject, remedy="lower ZSDS_WORKERS and run again"
        ) from error
    return str(error) if isinstance(error, UnusableInputError) else f"{type(error).__name__}: {error}"


def shortened(words: Sequence[str], most: int = SHOWN) -> list[str]:
    """Return the first words for a log, and how many more there are."""
    more = len(words) - most
    return [*words[:most], *([f"and {more} more"] if more > 0 else [])]
