"""Doors to other programs: LSDB, DuckDB, Polars, each imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs

from zsds_tasks.errors import UnusableInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zsds_tasks.catalog.source import Source
    from zsds_tasks.settings import Settings


def lsdb_catalog(source: Source, settings: Settings, **options: Any) -> Any:
    """Open a publication with LSDB.

    Parameters
    ----------
    source : Source
        Published.
    settings : Settings
        For S3.
    **options
        Of ``lsdb.open_catalog``: columns, search_filter, margin_cache, filters.

    Returns
    -------
    lsdb.Catalog

    Raises
    ------
    UnusableInputError
        If it is a live table, in which a HATS reader would count superseded rows, or has no positions.
    """
    if not source.is_published:
        raise UnusableInputError(
            "is no HATS publication",
            subject=source.name,
            remedy="open a release; live tables have .arrow() and SQL",
        )
    import lsdb  # noqa: PLC0415 - ten seconds

    place = source.uri
    if place.startswith("s3://"):
        from upath import UPath  # noqa: PLC0415 - only for S3

        options_of_s3: dict[str, Any] = {}
        if settings.s3_key.get_secret_value():
            options_of_s3 |= {
                "key": settings.s3_key.get_secret_value(),
                "secret": settings.s3_secret.get_secret_value(),
            }
        if settings.s3_endpoint:
            options_of_s3["endpoint_url"] = settings.s3_endpoint
        place = UPath(place, **options_of_s3)
    return lsdb.open_catalog(place, **options)


def duckdb_connection(sources: Mapping[str, Source]) -> Any:
    """Return a connection in memory with a view for each table.

    Parameters
    ----------
    sources : mapping of str to Source
        By the names of the views.

    Returns
    -------
    duckdb.DuckDBPyConnection
        Published tables on a local disk are read by DuckDB itself, others through pyarrow.
    """
    import duckdb  # noqa: PLC0415 - as the module says

    connection = duckdb.connect()
    for name, source in sources.items():
        if _is_plain(source):
            relation = connection.read_parquet(source.files(), hive_partitioning=False)
            relation.select(*(f'"{column}"' for column in source.names)).create_view(name)
        else:
            connection.register(name, source.dataset())
    return connection


def polars_frame(source: Source) -> Any:
    """Return a table as a ``polars.LazyFrame``."""
    import polars as pl  # noqa: PLC0415 - as the module says

    if _is_plain(source):
        frame = pl.scan_parquet(source.files(), hive_partitioning=False)
    else:
        frame = pl.scan_pyarrow_dataset(source.dataset())
    return frame.select(source.names)


def _is_plain(source: Source) -> bool:
    """Say whether other programs can open the files as they are: on a disk, all in one schema."""
    filesystem = source.filesystem
    if isinstance(filesystem, pafs.SubTreeFileSystem):
        return False
    return source.is_published and isinstance(filesystem, pafs.LocalFileSystem) and bool(source.files())
