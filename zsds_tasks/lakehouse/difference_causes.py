"""Why rows differ: the processing versions or the images they were made from, counted group by group.

A table with a column ``processing_version`` tells itself which version replaced which. The rows of others
are traced to images: by ``pid``, or, where a row is made of all images of a unit (field, filter, readout
channel), by the unit. Which images there were, of which night and version, is `images_of` the two states.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zsds_tasks.errors import ConfigurationError, TransientError
from zsds_tasks.lakehouse import paths
from zsds_tasks.lakehouse.difference_rows import RowDifferences, compare_rows
from zsds_tasks.lakehouse.difference_states import TableState
from zsds_tasks.lakehouse.identity import row_codes
from zsds_tasks.lakehouse.releases import IMAGES_FILE

if TYPE_CHECKING:
    from zsds_tasks.lakehouse.lakehouse import Lakehouse

VERSION, IMAGE, NIGHT = "processing_version", "pid", "night"
UNITS = (("field", "fid", "rcid"), ("fieldid", "filterid", "rcid"))
"""Names under which tables keep field, filter and readout channel."""
SCIENCE_IMAGES, OFFSETS = "science_images", "photometric_offsets"
OF_IMAGES = (IMAGE, *UNITS[0], NIGHT, VERSION)
Key = tuple[Any, ...]
Counts = tuple[int, int, int]
"""Rows added, removed, changed."""


@dataclass(frozen=True)
class Cause:
    """What rows differ by, and how many do."""

    kind: str
    """``processing version``: rows of one version became rows of another; each row counts once.
    ``images added``, ``images removed``, ``images reprocessed``: of what the rows are made of; a row counts
    for each cause that touches its image or unit. ``same images``: none of these; another reference or
    configuration did it."""
    before: str
    """Processing version, or the night of images removed; empty if there was none."""
    after: str
    added: int
    removed: int
    changed: int


@dataclass
class Tally:
    """Counts of differing rows by what may explain them; grows with images and versions, not with rows."""

    columns: frozenset[str]
    """Of both states."""
    versions: Counter[Key] = field(default_factory=Counter)
    origins: dict[Key, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    nights: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))

    @property
    def origin(self) -> tuple[str, ...]:
        """The columns that lead to images; none if there are none."""
        if IMAGE in self.columns:
            return (IMAGE,)
        return next((names for names in UNITS if self.columns.issuperset(names)), ())

    def add(self, rows: RowDifferences) -> None:
        """Count the rows of a region."""
        if VERSION in self.columns:
            pairs = pa.table({"before": rows.before[VERSION], "after": rows.after[VERSION]})
            for key, count in _grouped(pairs, ("before", "after")):
                self.versions[(2, *key)] += count
            for key, count in _grouped(rows.added, (VERSION,)):
                self.versions[(0, "", *key)] += count
            for key, count in _grouped(rows.removed, (VERSION,)):
                self.versions[(1, *key, "")] += count
        for kind, part in enumerate((rows.added, rows.removed, rows.after)):
            for key, count in _grouped(part, self.origin):
                self.origins[key][kind] += count
            if NIGHT in self.columns:
                for key, count in _grouped(part, (NIGHT,)):
                    self.nights[str(key[0])][kind] += count

    def causes_by_version(self) -> list[Cause]:
        """Return what the rows' own processing versions tell, the most rows first."""
        told: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for (kind, before, after), count in self.versions.items():
            told[str(before or ""), str(after or "")][kind] += count
        return _ordered([Cause("processing version", *pair, *counts) for pair, counts in told.items()])

    def nights_by_rows(self) -> dict[str, Counts]:
        """Return differing rows by their own column ``night``; nothing if they have none."""
        return _frozen(self.nights)

    def causes_by_images(self, before: pa.Table, after: pa.Table) -> list[Cause]:
        """Return what the images of the two states tell; see `images_of` for their columns."""
        causes: dict[Key, set[tuple[str, str, str]]] = defaultdict(set)
        for image, cause in _changes(before, after):
            causes[self._origin_of(image)].add(cause)
        told: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for origin, counts in self.origins.items():
            for cause in causes.get(origin, {("same images", "", "")}):
                _add(told[cause], counts)
        return _ordered([Cause(*cause, *counts) for cause, counts in told.items()])

    def nights_by_images(self, before: pa.Table, after: pa.Table) -> dict[str, Counts]:
        """Return differing rows by the night of their image, or of the images that changed in their unit."""
        if len(self.origin) == 1:
            wanted = pa.array([pid for (pid,) in self.origins], pa.int64())
            tables = (images.filter(pc.is_in(images[IMAGE], wanted)) for images in (before, after))
            images = [image for table in tables for image in table.to_pylist()]
        else:
            images = [image for image, _ in _changes(before, after)]
        nights: dict[Key, set[str]] = defaultdict(set)
        for image in images:
            nights[self._origin_of(image)].add(image[NIGHT])
        told: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for origin, counts in self.origins.items():
            for night in nights.get(origin, ()):
                _add(told[night], counts)
        return _frozen(told)

    def _origin_of(self, image: Mapping[str, Any]) -> Key:
        names = (IMAGE,) if len(self.origin) == 1 else UNITS[0]
        return tuple(image[name] for name in names)


def images_of(lakehouse: Lakehouse, state: TableState, origin: Sequence[str]) -> pa.Table | None:
    """Return the images that the rows of a state were made of.

    Parameters
    ----------
    lakehouse : Lakehouse
    state : TableState
    origin : sequence of str
        The columns that lead to images, see `Tally.origin`.

    Returns
    -------
    pyarrow.Table or None
        pid, field, fid, rcid, night, processing_version: what the release noted, or what the tables held when
        the version was committed, of the images and units that have rows; None if that is gone.
    """
    known = _images_known(lakehouse, state)
    if known is None or known.num_rows == 0:
        return known
    names = (IMAGE,) if len(origin) == 1 else UNITS[0]
    there = pa.schema([known.schema.field(name) for name in names]).empty_table()
    for file in state.files:
        rows = state.read([file], origin).rename_columns(list(names)).cast(there.schema)
        there = pa.concat_tables([there, rows]).group_by(list(names)).aggregate([]).cast(there.schema)
    ours, theirs = row_codes([there, known.select(list(names)).cast(there.schema)], names)
    return known.filter(pa.array(np.isin(theirs, ours)))


def _images_known(lakehouse: Lakehouse, state: TableState) -> pa.Table | None:
    if state.release is not None:
        filesystem, prefix = lakehouse.storage.arrow()
        place = prefix + paths.release_file(state.release.number, IMAGES_FILE)
        try:
            return pq.read_table(place, filesystem=filesystem)
        except FileNotFoundError:
            return None
    if state.moment is None:
        return lakehouse.table(SCIENCE_IMAGES).read(OF_IMAGES).slice(0, 0)
    return images_at(lakehouse, state.moment)


def images_at(lakehouse: Lakehouse, moment: datetime | None) -> pa.Table | None:
    """Return the images of light curves at a moment, by default now; columns as `images_of`.

    Where zero points were refined, those images; otherwise every image that may be used.
    """
    try:
        refined = lakehouse.table(OFFSETS).read([IMAGE], version=moment)[IMAGE]
    except (ConfigurationError, TransientError):
        refined = pa.chunked_array([], pa.int64())  # younger than that moment, or vacuumed since
    try:
        images = lakehouse.table(SCIENCE_IMAGES).read(OF_IMAGES, {"status": 1}, version=moment)
    except (ConfigurationError, TransientError):
        return None
    return images.filter(pc.is_in(images[IMAGE], refined)) if len(refined) else images


def _changes(before: pa.Table, after: pa.Table) -> Iterator[tuple[dict[str, Any], tuple[str, str, str]]]:
    """Yield images that are in one state only or of another version, with the cause that follows."""
    found = compare_rows(before, after, (IMAGE,))
    for image in found.added.to_pylist():
        yield image, ("images added", "", image[NIGHT])
    for image in found.removed.to_pylist():
        yield image, ("images removed", image[NIGHT], "")
    for was, image in zip(found.before.to_pylist(), found.after.to_pylist(), strict=True):
        yield image, ("images reprocessed", was[VERSION], image[VERSION])


def _grouped(rows: pa.Table, names: Sequence[str]) -> list[tuple[Key, int]]:
    if not names or rows.num_rows == 0:
        return []
    counted = rows.select(list(names)).group_by(list(names)).aggregate([([], "count_all")])
    columns = [counted.column(name).to_pylist() for name in names]
    return list(zip(zip(*columns, strict=True), counted.column("count_all").to_pylist(), strict=True))


def _add(total: list[int], counts: Sequence[int]) -> None:
    for kind, count in enumerate(counts):
        total[kind] += count


def _frozen(told: Mapping[str, list[int]]) -> dict[str, Counts]:
    return {name: (one[0], one[1], one[2]) for name, one in sorted(told.items())}


def _ordered(causes: list[Cause]) -> list[Cause]:
    def place(one: Cause) -> tuple[int, str, str, str]:
        return -(one.added + one.removed + one.changed), one.kind, one.before, one.after

    return sorted(causes, key=place)
