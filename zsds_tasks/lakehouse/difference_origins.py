"""From rows to the images they were made of: by product, or by the units (field, filter, readout channel).

A row of ``epochs`` names its image; a light curve is made of all images of its unit; an object is made of
the light curves in its nested column. Which images there were, of which night and version, tells `images_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zsds_tasks.errors import ConfigurationError, TransientError
from zsds_tasks.lakehouse import paths
from zsds_tasks.lakehouse.difference_states import TableState
from zsds_tasks.lakehouse.releases import IMAGES_FILE

if TYPE_CHECKING:
    from zsds_tasks.lakehouse.lakehouse import Lakehouse

VERSION, IMAGE, NIGHT = "processing_version", "pid", "night"
UNITS = (("field", "fid", "rcid"), ("fieldid", "filterid", "rcid"))
"""Names under which tables keep field, filter and readout channel."""
SCIENCE_IMAGES, OFFSETS = "science_images", "photometric_offsets"
MATCHED_UNITS = "matched_units"
CURVES = ("seeds", "epochs", "photometric_offsets", "lightcurves")
"""Tables that the step of light curves commits before it commits `MATCHED_UNITS`."""
OF_IMAGES = (IMAGE, *UNITS[0], NIGHT, VERSION)
SEPARATOR = ","
_FILTERS, _CHANNELS = 100, 1000
"""More than there can be, see the ranges of the tables' columns."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Origin:
    """What leads from the rows of a table to images."""

    columns: tuple[str, ...]
    """The product, or the three of a unit."""
    nested: str = ""
    """The nested column that holds them, several for each row; empty if they are columns of the table."""

    @classmethod
    def of(cls, schema: pa.Schema) -> Origin | None:
        """Return what a table has; None if nothing leads to images."""
        if IMAGE in schema.names:
            return cls((IMAGE,))
        for names in UNITS:
            if set(names) <= set(schema.names):
                return cls(names)
            for column in schema:
                if pa.types.is_struct(column.type) and set(names) <= {inner.name for inner in column.type}:
                    return cls(names, column.name)
        return None

    @property
    def is_image(self) -> bool:
        """Whether each row is of one image."""
        return len(self.columns) == 1

    @property
    def needed(self) -> list[str]:
        """The columns of the table to read."""
        return [self.nested] if self.nested else list(self.columns)

    @property
    def told(self) -> str:
        """How rows are traced, for readers."""
        if self.is_image:
            return "by the image of each row"
        return "by the images of the units of each row" if self.nested else "by the images of each row's unit"

    def code(self, image: Mapping[str, Any]) -> str:
        """Return the code of an image, or of its unit."""
        if self.is_image:
            return str(image[IMAGE])
        return str(_unit_code(*(np.int64(image[name]) for name in UNITS[0])))

    def words(self, rows: pa.Table) -> pa.ChunkedArray:
        """Return for each row the distinct codes of its images or units, with commas between."""
        codes, owner = self._codes(rows)
        if not self.nested:
            return pa.chunked_array([pa.array(codes).cast(pa.string())])
        order = np.lexsort((codes, owner))
        codes, owner = codes[order], owner[order]
        first = np.ones(len(codes), dtype=bool)
        first[1:] = (np.diff(codes) != 0) | (np.diff(owner) != 0)
        counts = np.bincount(owner[first], minlength=rows.num_rows)
        bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        lists = pa.ListArray.from_arrays(pa.array(bounds), pa.array(codes[first]).cast(pa.string()))
        return pa.chunked_array([pc.binary_join(lists, SEPARATOR)])

    def present(self, rows: pa.Table) -> Integers:
        """Return the distinct codes of all rows, sorted."""
        return np.unique(self._codes(rows)[0])

    def codes_of_images(self, images: pa.Table) -> Integers:
        """Return the code of each image in the columns of `images_of`."""
        names = (IMAGE,) if self.is_image else UNITS[0]
        return _codes_of([images[name] for name in names])

    def _codes(self, rows: pa.Table) -> tuple[Integers, Integers]:
        """Return codes, several for a row of a nested column, and the row of each."""
        if not self.nested:
            return _codes_of([rows[name] for name in self.columns]), np.arange(rows.num_rows)
        lists = [pc.struct_field(rows[self.nested], name) for name in self.columns]
        lengths = pc.fill_null(pc.list_value_length(lists[0]), 0).to_numpy()
        codes = _codes_of([pc.list_flatten(one) for one in lists])
        return codes, np.repeat(np.arange(rows.num_rows), lengths)


def images_of(lakehouse: Lakehouse, state: TableState, origin: Origin) -> pa.Table | None:
    """Return the images that the rows of a state were made of.

    Parameters
    ----------
    lakehouse : Lakehouse
    state : TableState
    origin : Origin

    Returns
    -------
    pyarrow.Table or None
        pid, field, fid, rcid, night, processing_version: what the release noted, or what the tables held when
        the version was committed, of the images and units that have rows; None if that is gone.
    """
    known = _images_known(lakehouse, state)
    if known is None or known.num_rows == 0:
        return known
    there = np.empty(0, np.int64)
    for file in state.files:
        there = np.union1d(there, origin.present(state.read([file], origin.needed)))
    return known.filter(pa.array(np.isin(origin.codes_of_images(known), there)))


def images_at(
    lakehouse: Lakehouse, moment: datetime | None, refined_at: datetime | None = None
) -> pa.Table | None:
    """Return the images of light curves at a moment, by default now; columns as `images_of`.

    Where zero points were refined (by another moment, later or now), those images; otherwise every image that
    may be used. None if that is gone.

    Raises
    ------
    TransientError
        If the storage is in the way of what is there now.
    """
    try:
        refined = lakehouse.table(OFFSETS).read([IMAGE], version=refined_at)[IMAGE]
    except ConfigurationError:
        if refined_at is None:
            raise
        refined = pa.chunked_array([], pa.int64())  # the table is younger than that moment
    except TransientError:
        if refined_at is None:
            raise
        return None  # vacuumed since: which images were refined is not known
    try:
        images = lakehouse.table(SCIENCE_IMAGES).read(OF_IMAGES, {"status": 1}, version=moment)
    except (ConfigurationError, TransientError):
        if moment is None:
            raise
        return None
    return images.filter(pc.is_in(images[IMAGE], refined)) if len(refined) else images


def settled(lakehouse: Lakehouse, state: TableState) -> datetime | None:
    """Return when the units of a state were told: with light curves, not before the end of their batch.

    That is when `MATCHED_UNITS` followed the rows of the state, and as long as no newer rows were written.
    """
    if state.moment is None or state.table not in CURVES:
        return state.moment
    written = _written(lakehouse, state.table)
    rows_of = max((moment for moment in written if moment <= state.moment), default=state.moment)
    told = min((moment for moment in _written(lakehouse, MATCHED_UNITS) if moment >= rows_of), default=None)
    following = min((moment for moment in written if told and moment > told), default=None)
    return following and following - timedelta(milliseconds=1)


def _written(lakehouse: Lakehouse, name: str) -> list[datetime]:
    """Return when rows of a table changed; upkeep changes none."""
    history = lakehouse.table(name).history()
    return [entry["time"] for entry in history if entry["operation"] in {"merge", "replace", "delete"}]


def _images_known(lakehouse: Lakehouse, state: TableState) -> pa.Table | None:
    if state.release is None:
        return images_at(lakehouse, state.moment, settled(lakehouse, state))
    filesystem, prefix = lakehouse.storage.arrow()
    place = prefix + paths.release_file(state.release.number, IMAGES_FILE)
    try:
        return pq.read_table(place, filesystem=filesystem)
    except FileNotFoundError:
        return None


def _codes_of(columns: list[pa.ChunkedArray]) -> Integers:
    numbers = [column.to_numpy().astype(np.int64) for column in columns]
    return numbers[0] if len(numbers) == 1 else _unit_code(*numbers)


def _unit_code(field: Any, fid: Any, rcid: Any) -> Any:
    return (field * _FILTERS + fid) * _CHANNELS + rcid
