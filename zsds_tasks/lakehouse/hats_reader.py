"""Read HATS catalogues by pixel, cone or box with pyarrow alone: no LSDB, whose import takes ten seconds.

Works on our own catalogues and on public ones: local folders, S3 and web servers, through fsspec.
"""

from __future__ import annotations

import io
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from zsds_tasks.errors import ConfigurationError, UnusableInputError
from zsds_tasks.lakehouse import layout
from zsds_tasks.lakehouse.cones import read_groups
from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.storage import translated
from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Pixel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zsds_tasks.settings import Settings


class HatsReader:
    """A HATS catalogue, or the primary catalogue of a collection.

    Keep it: it remembers the pixels and properties.

    Parameters
    ----------
    uri : str
        A folder, an ``s3://`` URI or any other that fsspec opens.
    settings : Settings, optional
        For S3; by default those of the environment.
    """

    def __init__(self, uri: str, settings: Settings | None = None) -> None:
        self.uri = uri.rstrip("/")
        self._settings = settings

    @cached_property
    def _opened(self) -> tuple[pafs.FileSystem, str, dict[str, str]]:
        """The file system, where the catalogue or collection lies, and what a collection says of itself."""
        if "://" not in self.uri or self.uri.startswith("s3://"):
            filesystem, prefix = open_storage(self.uri, self._settings).arrow()
        else:
            import fsspec  # noqa: PLC0415 - only for catalogues on other servers

            remote, path = fsspec.core.url_to_fs(self.uri)
            filesystem, prefix = pafs.PyFileSystem(pafs.FSSpecHandler(remote)), path.rstrip("/") + "/"
        return filesystem, prefix, self._properties_at(filesystem, f"{prefix}collection.properties") or {}

    @cached_property
    def _place(self) -> tuple[pafs.FileSystem, str]:
        filesystem, prefix, collection = self._opened
        primary = collection.get("hats_primary_table_url", "").strip("/")
        return filesystem, f"{prefix}{primary}/" if primary else prefix

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The file system that `files` and `id_index` belong to."""
        return self._opened[0]

    def id_index(self, column: str) -> list[str]:
        """Return the files of the collection's index of a column, sorted by it; none if there is no such."""
        filesystem, prefix, collection = self._opened
        words = collection.get("all_indexes", "").split()
        folder = dict(zip(words[::2], words[1::2], strict=False)).get(column)
        if folder is None:
            return []
        with translated(self.uri):
            inside = filesystem.get_file_info(pafs.FileSelector(f"{prefix}{folder}/dataset/index"))
        return sorted(found.path for found in inside if found.is_file)

    @cached_property
    def properties(self) -> dict[str, str]:
        """The lines of ``hats.properties``.

        Raises
        ------
        ConfigurationError
            If there is no HATS catalogue.
        """
        filesystem, prefix = self._place
        for name in ("hats.properties", "properties"):
            found = self._properties_at(filesystem, prefix + name)
            if found is not None:
                return found
        raise ConfigurationError(
            "holds no HATS catalogue (neither hats.properties nor collection.properties)",
            subject=self.uri,
            remedy="give the folder of a catalogue or a collection",
        )

    def _properties_at(self, filesystem: pafs.FileSystem, path: str) -> dict[str, str] | None:
        try:
            with translated(self.uri), filesystem.open_input_file(path) as stream:
                text = stream.read().decode()
        except FileNotFoundError:
            return None
        pairs = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
        return {name.strip(): value.strip() for name, equals, value in pairs if equals}

    @property
    def is_there(self) -> bool:
        """Whether there is a catalogue; what forbids to look is raised."""
        filesystem, prefix = self._place
        names = ("hats.properties", "properties")
        return any(self._properties_at(filesystem, prefix + name) is not None for name in names)

    @cached_property
    def pixels(self) -> tuple[Pixel, ...]:
        """All pixels that hold rows, in the order of the sky."""
        filesystem, prefix = self._place
        with translated(self.uri), filesystem.open_input_file(f"{prefix}partition_info.csv") as stream:
            listed = pa_csv.read_csv(io.BytesIO(stream.read())).select(["Norder", "Npix"])
        found = [Pixel(int(row["Norder"]), int(row["Npix"])) for row in listed.to_pylist()]
        return tuple(sorted(found, key=lambda pixel: pixel.first))

    @property
    def rows(self) -> int:
        """Rows of the whole catalogue, as it says itself."""
        return int(self.properties["hats_nrows"])

    def read(
        self,
        columns: Sequence[str] | None = None,
        *,
        pixels: Iterable[Pixel] | None = None,
        cone: tuple[float, float, float] | None = None,
        box: tuple[tuple[float, float], tuple[float, float]] | None = None,
    ) -> pa.Table:
        """Return the rows of some pixels, of a cone, or of a box; all rows if none is given.

        Parameters
        ----------
        columns : sequence of str, optional
            By default all.
        pixels : iterable of Pixel, optional
            Of any order; rows inside them.
        cone : tuple of float, optional
            Right ascension, declination (degrees) and radius (arcsec).
        box : tuple, optional
            (from, to) in right ascension, eastward and perhaps across 0 h; (south, north). Degrees.

        Returns
        -------
        pyarrow.Table
            In the order of the sky.

        Raises
        ------
        UnusableInputError
            If a column is unknown.
        ConfigurationError
            If there is no HATS catalogue.
        """
        ranges = _ranges(pixels, cone, box)
        ra, dec = self.properties["hats_col_ra"], self.properties["hats_col_dec"]
        names = list(columns) if columns is not None else self.schema.names
        unknown = [name for name in names if name not in self.schema.names]
        if unknown:
            raise UnusableInputError(
                f"unknown column {', '.join(unknown)}",
                subject=self.uri,
                remedy=f"columns are {', '.join(self.schema.names)}",
            )
        index = self._index_column
        needed = list(dict.fromkeys([*names, ra, dec, *([index] if index else [])]))
        wanted = pa.schema([self.schema.field(name) for name in needed])
        first = np.array([pixel.first for pixel in self.pixels], dtype=np.int64)
        last = np.array([pixel.end - 1 for pixel in self.pixels], dtype=np.int64)
        touched = np.flatnonzero(healpix.overlaps_ranges(first, last, ranges))
        parts = [self._read_pixel(self.pixels[number], wanted, ranges) for number in touched]
        found = pa.concat_tables([wanted.empty_table(), *parts])
        mask = np.ones(found.num_rows, dtype=bool)
        positions = (found.column(ra).to_numpy(), found.column(dec).to_numpy())
        if cone is not None:
            mask &= healpix.within_cone(*positions, cone[:2], cone[2] / 3600.0)
        if box is not None:
            mask &= healpix.within_box(*positions, *box)
        return found.filter(pa.array(mask)).select(names)

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of the leaves, with their metadata."""
        filesystem, prefix = self._place
        with translated(self.uri):
            return pq.read_schema(f"{prefix}dataset/_common_metadata", filesystem=filesystem)

    @property
    def _index_column(self) -> str | None:
        """The column that holds the order-29 index, if the catalogue has one."""
        name = self.properties.get("hats_col_healpix", "")
        right_order = self.properties.get("hats_col_healpix_order") == str(healpix.INDEX_ORDER)
        return name if right_order and name in self.schema.names else None

    def files(self, pixel: Pixel) -> list[str]:
        """Return the files that hold the rows of one of `pixels`."""
        filesystem, prefix = self._place
        suffix = self.properties.get("hats_npix_suffix", ".parquet")
        leaf = f"{prefix}dataset/{layout.hats_folder(pixel)}{suffix.rstrip('/')}"
        if suffix != "/":
            return [leaf]
        inside = filesystem.get_file_info(pafs.FileSelector(leaf))
        return [found.path for found in inside if found.is_file and found.size]

    def _read_pixel(self, pixel: Pixel, wanted: pa.Schema, ranges: healpix.Integers) -> pa.Table:
        filesystem = self.filesystem
        index = self._index_column
        parts = []
        with translated(f"{self.uri} {layout.hats_folder(pixel)}"):
            for file in self.files(pixel):
                if index is not None:
                    parts.append(read_groups(filesystem, file, wanted, ranges, index))
                else:
                    parts.append(pq.ParquetFile(file, filesystem=filesystem).read(wanted.names).cast(wanted))
        rows = pa.concat_tables([wanted.empty_table(), *parts])
        if index is None:
            ra, dec = self.properties["hats_col_ra"], self.properties["hats_col_dec"]
            cells = healpix.index_of(rows.column(ra).to_numpy(), rows.column(dec).to_numpy())
            rows = rows.filter(pa.array(healpix.in_ranges(cells, ranges)))
        return rows


def read_partitions(
    uri: str,
    columns: Sequence[str] | None = None,
    *,
    pixels: Iterable[Pixel] | None = None,
    cone: tuple[float, float, float] | None = None,
    box: tuple[tuple[float, float], tuple[float, float]] | None = None,
    settings: Settings | None = None,
) -> pa.Table:
    """Read part of a HATS catalogue once; for more than one question keep a `HatsReader`.

    Parameters, returns and errors are those of `HatsReader.read`.
    """
    return HatsReader(uri, settings).read(columns, pixels=pixels, cone=cone, box=box)


def _ranges(
    pixels: Iterable[Pixel] | None,
    cone: tuple[float, float, float] | None,
    box: tuple[tuple[float, float], tuple[float, float]] | None,
) -> healpix.Integers:
    if sum(region is not None for region in (pixels, cone, box)) > 1:
        raise UnusableInputError("more than one region was asked for", remedy="give pixels, cone or box")
    if pixels is not None:
        pairs = [(pixel.first, pixel.end) for pixel in pixels]
        return healpix.merge_ranges(np.array(pairs, dtype=np.int64).reshape(-1, 2))
    if cone is not None:
        return healpix.cone_ranges(cone[0], cone[1], cone[2] / 3600.0)
    if box is not None:
        return healpix.box_ranges(*box)
    return np.array([[0, healpix.SKY_RANGE]], dtype=np.int64)
