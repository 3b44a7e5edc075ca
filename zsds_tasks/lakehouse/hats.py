"""Write HATS: leaf files and the small files beside them that make a catalogue, a margin, a collection."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import zsds_tasks
from zsds_tasks.lakehouse import id_index, layout
from zsds_tasks.lakehouse.encoding import encode
from zsds_tasks.lakehouse.margins import MarginFinder
from zsds_tasks.lakehouse.storage import relative_path
from zsds_tasks.products.tables import INDEX_COLUMN
from zsds_tasks.sky import healpix

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from zsds_tasks.lakehouse.storage import Storage
    from zsds_tasks.sky.healpix import Integers, Pixel

HATS_VERSION = "v1.0"


@dataclass(frozen=True)
class CatalogFacts:
    """What a catalogue says about itself."""

    name: str
    ra: str
    dec: str
    """The columns of position, degrees."""
    description: str
    created: datetime


@dataclass
class Leaf:
    """One pixel's file."""

    pixel: Pixel
    rows: int
    size: int
    footer: pq.FileMetaData


def leaf_path(pixel: Pixel) -> str:
    """Return ``dataset/Norder=<k>/Dir=<d>/Npix=<n>.parquet``: a pixel's place in a catalogue."""
    return f"dataset/{layout.hats_folder(pixel)}.parquet"


def write_leaf(storage: Storage, folder: str, pixel: Pixel, rows: pa.Table) -> Leaf:
    """Write a pixel's sorted rows."""
    content = encode(rows)
    storage.put_bytes_atomically(memoryview(content), f"{folder}/{leaf_path(pixel)}")
    return Leaf(pixel, rows.num_rows, content.size, pq.read_metadata(pa.BufferReader(content)))


def write_sidecars(
    storage: Storage, folder: str, leaves: Iterable[Leaf], schema: pa.Schema, properties: dict[str, object]
) -> None:
    """Write everything of a catalogue but its leaves.

    Parameters
    ----------
    storage : Storage
    folder : str
        Of the catalogue.
    leaves : iterable of Leaf
        Footers of one schema.
    schema : pyarrow.Schema
    properties : dict
        For ``hats.properties``; counts and sizes are added.
    """
    ordered = sorted(leaves, key=lambda leaf: (leaf.pixel.order, leaf.pixel.number))
    table = "".join(f"{leaf.pixel.order},{leaf.pixel.number}\n" for leaf in ordered)
    storage.put_bytes_atomically(f"Norder,Npix\n{table}".encode(), f"{folder}/partition_info.csv")
    storage.put_bytes_atomically(_common_metadata(schema), f"{folder}/dataset/_common_metadata")
    storage.put_bytes_atomically(_metadata(ordered, schema), f"{folder}/dataset/_metadata")
    counted: dict[str, object] = {
        "hats_nrows": sum(leaf.rows for leaf in ordered),
        "hats_order": max((leaf.pixel.order for leaf in ordered), default=0),
        "hats_max_rows": max((leaf.rows for leaf in ordered), default=0),
        "hats_estsize": sum(leaf.size for leaf in ordered) // 1024,
        "moc_sky_fraction": f"{sum(1 / (12 * 4**leaf.pixel.order) for leaf in ordered):.6g}",
    }
    write_properties(storage, f"{folder}/hats.properties", {**properties, **counted})


def write_properties(storage: Storage, path: str, properties: dict[str, object]) -> None:
    """Write a file of ``key=value`` lines, as HATS reads them."""
    lines = [
        f"{name}={_escaped(str(value))}\n" for name, value in properties.items() if value not in {"", None}
    ]
    storage.put_bytes_atomically("".join(lines).encode(), path)


def catalog_properties(facts: CatalogFacts) -> dict[str, object]:
    """Return the properties of a primary catalogue."""
    return {
        "obs_collection": facts.name,
        "dataproduct_type": "object",
        "obs_title": facts.description,
        "hats_col_ra": facts.ra,
        "hats_col_dec": facts.dec,
        "hats_col_healpix": INDEX_COLUMN,
        "hats_col_healpix_order": healpix.INDEX_ORDER,
        "hats_npix_suffix": ".parquet",
        **_provenance(facts),
    }


def margin_name(name: str, margin_arcsec: float) -> str:
    """Return ``<name>_<margin>arcs``: the folder of a margin cache."""
    return f"{name}_{margin_arcsec:g}arcs"


def finish_collection(
    storage: Storage,
    folder: str,
    facts: CatalogFacts,
    leaves: list[Leaf],
    schema: pa.Schema,
    margin_arcsec: float,
) -> None:
    """Make a collection of leaves that lie in ``<folder>/<name>`` already: sidecars, margin, index, facts.

    Parameters
    ----------
    storage : Storage
    folder : str
        Of the collection.
    facts : CatalogFacts
    leaves : list of Leaf
    schema : pyarrow.Schema
        Of every leaf.
    margin_arcsec : float
        Width of the margin cache; 0 for none.
    """
    write_sidecars(storage, f"{folder}/{facts.name}", leaves, schema, catalog_properties(facts))
    margin = None
    if margin_arcsec > 0.0:
        margins = _margin_rows(storage, f"{folder}/{facts.name}", leaves, margin_arcsec)
        # Readers choke on a margin without rows; a catalogue without a margin is read as having an empty one.
        if margins:
            margin = margin_name(facts.name, margin_arcsec)
            _write_margin(storage, f"{folder}/{margin}", facts, margin_arcsec, margins, schema)
    column = id_index.id_column(schema)
    if column:
        _write_index(storage, folder, facts, leaves, column)
    # Last, because it is what makes a folder a collection.
    properties: dict[str, object] = {
        "obs_collection": facts.name,
        "hats_primary_table_url": facts.name,
        "all_margins": margin,
        "default_margin": margin,
        "all_indexes": f"{column} {id_index.index_name(facts.name, column)}" if column else None,
        "default_index": column,
        **_provenance(facts),
    }
    write_properties(storage, f"{folder}/collection.properties", properties)


def _margin_rows(
    storage: Storage, folder: str, leaves: list[Leaf], margin_arcsec: float
) -> dict[Pixel, list[pa.Table]]:
    """Return the rows near each pixel that other pixels hold."""
    finder = MarginFinder.of([leaf.pixel for leaf in leaves], margin_arcsec)
    filesystem, prefix = storage.arrow()
    margins: dict[Pixel, list[pa.Table]] = {}
    for leaf in leaves:
        with pq.ParquetFile(
            prefix + relative_path(f"{folder}/{leaf_path(leaf.pixel)}"), filesystem=filesystem
        ) as file:
            index = file.read([INDEX_COLUMN]).column(0).to_numpy()
            near = finder.rows_near_others(leaf.pixel, index)
            for other, rows in _rows_of(file, near).items():
                margins.setdefault(other, []).append(rows)
    return margins


def _rows_of(file: pq.ParquetFile, wanted: dict[Pixel, Integers]) -> dict[Pixel, pa.Table]:
    """Read rows by their numbers, and of the file only the row groups that hold some."""
    if not wanted:
        return {}
    footer = file.metadata
    ends = np.cumsum([footer.row_group(group).num_rows for group in range(footer.num_row_groups)])
    group_of = {pixel: np.searchsorted(ends, numbers, side="right") for pixel, numbers in wanted.items()}
    groups = np.unique(np.concatenate(list(group_of.values())))
    read = file.read_row_groups(groups.tolist(), use_threads=False)
    sizes = np.diff(ends, prepend=0)
    # Rows of groups that are not read no longer count.
    shift = (ends - sizes)[groups] - (np.cumsum(sizes[groups]) - sizes[groups])
    return {
        pixel: read.take(pa.array(numbers - shift[np.searchsorted(groups, group_of[pixel])]))
        for pixel, numbers in wanted.items()
    }


def _write_margin(
    storage: Storage,
    folder: str,
    facts: CatalogFacts,
    margin_arcsec: float,
    margins: dict[Pixel, list[pa.Table]],
    schema: pa.Schema,
) -> None:
    leaves = [
        write_leaf(storage, folder, pixel, pa.concat_tables(parts).sort_by(INDEX_COLUMN).cast(schema))
        for pixel, parts in sorted(margins.items(), key=lambda item: item[0].first)
    ]
    properties = catalog_properties(facts) | {
        "obs_collection": margin_name(facts.name, margin_arcsec),
        "dataproduct_type": "margin",
        "hats_primary_table_url": facts.name,
        "hats_margin_threshold": f"{margin_arcsec:g}",
    }
    write_sidecars(storage, folder, leaves, schema, properties)


def _write_index(storage: Storage, folder: str, facts: CatalogFacts, leaves: list[Leaf], column: str) -> None:
    name = id_index.index_name(facts.name, column)
    in_order = sorted(leaves, key=lambda leaf: leaf.pixel.first)
    files = [(leaf.pixel, f"{folder}/{facts.name}/{leaf_path(leaf.pixel)}") for leaf in in_order]
    rows, size = id_index.write_parts(storage, f"{folder}/{name}", files, column)
    properties = {
        "obs_collection": name,
        "dataproduct_type": "index",
        "hats_nrows": rows,
        "hats_primary_table_url": facts.name,
        "hats_index_column": column,
        "hats_index_extra_column": INDEX_COLUMN,
        "hats_estsize": size // 1024,
        **_provenance(facts),
    }
    write_properties(storage, f"{folder}/{name}/hats.properties", properties)


def _provenance(facts: CatalogFacts) -> dict[str, object]:
    return {
        "hats_builder": f"zsds {zsds_tasks.__version__}",
        "hats_creation_date": facts.created.strftime("%Y-%m-%dT%H:%MUTC"),
        "hats_version": HATS_VERSION,
    }


def _common_metadata(schema: pa.Schema) -> bytes:
    sink = io.BytesIO()
    pq.write_metadata(schema, sink)
    return sink.getvalue()


def _metadata(leaves: list[Leaf], schema: pa.Schema) -> bytes:
    """Join the footers of all leaves, each with its path, as parquet's ``_metadata``."""
    if not leaves:
        return _common_metadata(schema)
    for leaf in leaves:
        leaf.footer.set_file_path(leaf_path(leaf.pixel).removeprefix("dataset/"))
    whole = leaves[0].footer
    for leaf in leaves[1:]:
        whole.append_row_groups(leaf.footer)
    sink = io.BytesIO()
    whole.write_metadata_file(sink)
    return sink.getvalue()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", " ")
