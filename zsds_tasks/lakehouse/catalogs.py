"""Write a HATS collection straight from an Arrow table: for catalogues that never change, such as Gaia's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from zsds_tasks.errors import NothingToDoError, UnusableInputError
from zsds_tasks.lakehouse import hats, layout
from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.products.tables import INDEX_COLUMN

if TYPE_CHECKING:
    import pyarrow as pa

    from zsds_tasks.settings import Settings


def write_catalog(
    name: str,
    table: pa.Table,
    folder_uri: str,
    *,
    ra: str = "ra",
    dec: str = "dec",
    order: int = 0,
    max_rows: int = 1_000_000,
    margin_arcsec: float = 10.0,
    description: str = "",
    created: datetime | None = None,
    settings: Settings | None = None,
) -> str:
    """Write a HATS collection, replacing one that is there.

    Parameters
    ----------
    name : str
        Of the catalogue, without blanks.
    table : pyarrow.Table
        Rows in any order. Units and the like in field metadata are kept.
    folder_uri : str
        Where the collection shall be: a folder or an ``s3://`` URI, for this collection alone.
    ra, dec : str
        Columns of position, degrees.
    order : int
        The coarsest pixels to use.
    max_rows : int
        Fuller pixels are split.
    margin_arcsec : float
        Width of the margin cache; 0 for none.
    description : str
    created : datetime, optional
        The time to write into it.
    settings : Settings, optional
        For S3; by default those of the environment.

    Returns
    -------
    str
        `folder_uri`, which HATS readers open.

    Raises
    ------
    NothingToDoError
        If the table is empty: HATS knows no empty catalogues.
    UnusableInputError
        If a position is missing or none.
    """
    if table.num_rows == 0:
        raise NothingToDoError("has no rows; HATS knows no empty catalogues", subject=name)
    plain = table.drop_columns([INDEX_COLUMN]) if INDEX_COLUMN in table.schema.names else table
    try:
        indexed = layout.with_index(plain, ra, dec).sort_by(INDEX_COLUMN)
    except (KeyError, ValueError) as error:
        raise UnusableInputError(
            f"columns {ra}, {dec}: {error}", subject=name, remedy="give every row a position in degrees"
        ) from error
    storage = open_storage(folder_uri, settings)
    # First what makes it a collection, so that no reader takes the half of each for a whole.
    storage.delete("collection.properties")
    storage.delete_tree(name)
    storage.delete_tree(hats.margin_name(name, margin_arcsec))
    index = indexed.column(INDEX_COLUMN).to_numpy()
    leaves = []
    for pixel in layout.tile(index, order, max_rows):
        low, high = index.searchsorted([pixel.first, pixel.end])
        leaves.append(hats.write_leaf(storage, name, pixel, indexed.slice(low, high - low)))
    facts = hats.CatalogFacts(name, ra, dec, description, created or datetime.now(UTC))
    hats.finish_collection(storage, ".", facts, leaves, indexed.schema, margin_arcsec)
    return folder_uri
