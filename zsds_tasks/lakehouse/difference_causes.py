"""Why rows differ: the processing versions or the images they were made from, counted group by group.

A table with a column ``processing_version`` tells itself which version replaced which. The rows of others
are traced to their images, see `zsds_tasks.lakehouse.difference_origins`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from zsds_tasks.lakehouse.difference_origins import IMAGE, NIGHT, SEPARATOR, UNITS, VERSION, Origin
from zsds_tasks.lakehouse.difference_references import reference_changes
from zsds_tasks.lakehouse.difference_rows import RowDifferences, compare_rows

Key = tuple[Any, ...]
Counts = tuple[int, int, int]
"""Rows added, removed, changed."""


@dataclass(frozen=True)
class Cause:
    """What rows differ by, and how many do."""

    kind: str
    """``processing version``: rows of one version became rows of another; each row counts once.
    ``images added``, ``images removed``, ``images reprocessed``, ``reference changed``: of what the rows are
    made of; a row counts for each cause that touches one of its images or units. ``same images``: none of
    these; the configuration, or a calibration of the whole survey, did it."""
    before: str
    """Processing version, night of images removed, or version of the reference; empty if there was none."""
    after: str
    added: int
    removed: int
    changed: int


@dataclass
class Tally:
    """Counts of differing rows by what may explain them; grows with images and versions, not with rows."""

    columns: frozenset[str]
    """Of both states."""
    origin: Origin | None
    """What leads from rows to images; None if nothing does."""
    versions: Counter[Key] = field(default_factory=Counter)
    origins: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    nights: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))

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
            if self.origin is not None:
                words = pa.table({"origin": self.origin.words(part)})
                for (word,), count in _grouped(words, ("origin",)):
                    self.origins[word][kind] += count
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

    def causes_by_images(
        self, before: pa.Table, after: pa.Table, references: tuple[pa.Table, pa.Table] | None = None
    ) -> list[Cause]:
        """Return what the images of the two states tell, and the references of their units if known.

        See `images_of` and `references_of` for the columns.
        """
        causes: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
        for image, cause in _changes(before, after):
            causes[self._code(image)].add(cause)
        units = (
            {_unit(one): (one, cause) for one, cause in reference_changes(*references)} if references else {}
        )
        touched = iter(units.values())
        if units and self._is_image:
            touched = ((one, units[_unit(one)][1]) for one in self._touched(after) if _unit(one) in units)
        for one, cause in touched:
            causes[self._code(one)].add(cause)
        told: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for codes, counts in self._origins():
            found = set().union(*(causes.get(code, set()) for code in codes))
            for cause in found or {("same images", "", "")}:
                _add(told[cause], counts)
        return _ordered([Cause(*cause, *counts) for cause, counts in told.items()])

    def nights_by_images(self, before: pa.Table, after: pa.Table) -> dict[str, Counts]:
        """Return differing rows by the night of their image, or of the images that changed in their units."""
        images: Iterator[dict[str, Any]] = (image for image, _ in _changes(before, after))
        if self._is_image:
            images = chain(self._touched(before), self._touched(after))
        nights: dict[str, set[str]] = defaultdict(set)
        for image in images:
            nights[self._code(image)].add(image[NIGHT])
        told: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for codes, counts in self._origins():
            for night in set().union(*(nights.get(code, set()) for code in codes)):
                _add(told[night], counts)
        return _frozen(told)

    @property
    def images(self) -> int:
        """Images whose rows differ; 0 for tables that name none."""
        return len(self.origins) if self._is_image else 0

    @property
    def _is_image(self) -> bool:
        return self.origin is not None and self.origin.is_image

    def _touched(self, images: pa.Table) -> Iterator[dict[str, Any]]:
        """Yield the images whose rows differ."""
        wanted = np.array([int(code) for codes, _ in self._origins() for code in codes], np.int64)
        yield from images.filter(pa.array(np.isin(images[IMAGE].to_numpy(), wanted))).to_pylist()

    def _origins(self) -> Iterator[tuple[list[str], list[int]]]:
        for word, counts in self.origins.items():
            yield word.split(SEPARATOR), counts

    def _code(self, image: Mapping[str, Any]) -> str:
        return self.origin.code(image) if self.origin else ""


def _unit(one: Mapping[str, Any]) -> Key:
    return tuple(one[name] for name in UNITS[0])


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
