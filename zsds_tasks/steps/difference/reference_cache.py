"""References as a worker needs them: read once for images of the same channel that follow each other."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.steps.difference.reference_frames import ReferenceFrame, open_reference
from zsds_tasks.steps.difference.sides import STAR_COLUMNS
from zsds_tasks.steps.references.rows import SOURCES

Row = dict[str, Any]
Given = tuple[ReferenceFrame, pa.Table]
COLUMNS = (*STAR_COLUMNS, "sigmag", "chi", "sharp")


class ReferenceCache:
    """References that were read, the latest last, as many as memory is allowed for.

    Each is known by its storage and the checksums of its files: another one never takes its place.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], Given] = OrderedDict()

    def of(self, lakehouse: Lakehouse, row: Row, most_mb: float) -> Given:
        """Return a reference and its rows of reference_sources.

        Parameters
        ----------
        lakehouse : Lakehouse
        row : dict
            Of references.
        most_mb : float
            Of pixels that may be kept beyond those that are returned.

        Raises
        ------
        UnusableInputError
            If a file is gone or is not the one that the row names.
        """
        key = (lakehouse.storage.root, str(row["path"]), *row["products"])
        given = self._kept.pop(key, None)
        if given is None:
            frame = open_reference(lakehouse, row)
            which = {name: row[name] for name in ("rfid", "version")}
            given = (frame, lakehouse.table(SOURCES).read(COLUMNS, which))
        self._kept[key] = given
        while self._kept and self._megabytes() > most_mb:
            self._kept.popitem(last=False)
        return given

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def _megabytes(self) -> float:
        return sum(frame.image.nbytes + frame.uncertainty.nbytes for frame, _ in self._kept.values()) / 1e6


references = ReferenceCache()
"""Of this process."""
