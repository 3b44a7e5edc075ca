"""Publish a table to HATS: an immutable snapshot of exactly the live files of one version.

A HATS reader sees files, not Delta's log, so it must never look into a live table: superseded rows would
count twice. A publication holds hard links (server-side copies on S3), so that it outlives every vacuum.
``latest`` is written last, and names only whole publications.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from zsds_tasks.errors import ConfigurationError, NothingToDoError, TransientError
from zsds_tasks.lakehouse import hats, layout, paths
from zsds_tasks.lakehouse.releases import pinned_publications
from zsds_tasks.products.tables import arrow_schema

if TYPE_CHECKING:
    from zsds_tasks.lakehouse.snapshot import DataFile, Snapshot
    from zsds_tasks.lakehouse.storage import Storage
    from zsds_tasks.lakehouse.tables import Table
    from zsds_tasks.sky.healpix import Pixel

MARGIN_ARCSEC = 10.0
"""Width of the margin caches: enough for any cross-match of stars, small enough to cost nothing."""
_PARALLEL_LINKS = 8
_ATTEMPTS = 5
_POINTER_PATIENCE_S = 30.0


@dataclass(frozen=True)
class PublishedCatalog:
    """One publication of a table."""

    name: str
    uri: str
    """The HATS collection."""
    version: int
    """Counts the publications of the table, from 1."""
    table_version: int
    """The Delta version it shows."""
    rows: int
    files: int
    content: str
    """Digest of the names of the live files: the same exactly if the table has not changed since."""
    created: str
    """ISO 8601, UTC."""


def publish(
    table: Table, *, margin_arcsec: float = MARGIN_ARCSEC, now: datetime | None = None
) -> PublishedCatalog:
    """Publish the newest version of a table, unless it is published already.

    Parameters
    ----------
    table : Table
        Laid out over the sky. It is repartitioned and compacted first, so that a pixel is one file.
    margin_arcsec : float
        Width of the margin cache; 0 for none.
    now : datetime, optional
        The time to write into the publication.

    Returns
    -------
    PublishedCatalog
        The new publication, or the current one if the table has not changed since.

    Raises
    ------
    ConfigurationError
        If the table is not laid out over the sky.
    NothingToDoError
        If it has no rows.
    TransientError
        If the storage or other writers are in the way.
    """
    if table.declaration.healpix is None:
        raise ConfigurationError(
            "is not laid out over the sky and cannot be a HATS catalogue",
            subject=table.name,
            remedy="declare partition: {kind: healpix, ...}, or read the Delta table",
        )
    for _ in range(_ATTEMPTS):
        table.repartition()
        table.compact()
        snapshot = table.snapshot()
        if snapshot is None or not snapshot.files:
            raise NothingToDoError("has no rows to publish", subject=table.name)
        content = content_digest(snapshot)
        current = latest(table.storage, table.name)
        if current is not None and current.content == content:
            return current
        try:
            return _build(table, snapshot, content, margin_arcsec, now or datetime.now(UTC))
        except FileNotFoundError:
            continue  # compacted and vacuumed under our hands: take a newer version
    raise TransientError(
        f"the files of {_ATTEMPTS} versions vanished while they were linked",
        subject=table.uri,
        remedy="vacuum with a longer retention; the work is retried",
    )


def latest(storage: Storage, name: str) -> PublishedCatalog | None:
    """Return the current publication of a table; None if there is none."""
    try:
        version = int(storage.read_bytes(paths.latest(name)).decode().strip().removeprefix("v"))
    except FileNotFoundError:
        return None
    return read_publication(storage, name, version)


def read_publication(storage: Storage, name: str, version: int) -> PublishedCatalog | None:
    """Return one publication; None if it is not there or was never finished."""
    try:
        told = json.loads(storage.read_bytes(paths.publication(name, version)))
    except FileNotFoundError:
        return None
    if not told.pop("whole", False):
        return None
    return PublishedCatalog(uri=storage.uri(paths.collection_version(name, version)), **told)


def versions(storage: Storage, name: str) -> list[int]:
    """Return the numbers of all publications of a table, unfinished ones included, oldest first."""
    numbers = [child[1:] for child in storage.children(paths.collection(name)) if child.startswith("v")]
    return sorted(int(number) for number in numbers if number.isdigit())


def _build(
    table: Table, snapshot: Snapshot, content: str, margin_arcsec: float, now: datetime
) -> PublishedCatalog:
    storage, name = table.storage, table.name
    version = _claim(storage, name, now)
    folder = paths.collection_version(name, version)
    partition = table.declaration.healpix
    facts = hats.CatalogFacts(
        name=name,
        ra=partition.ra if partition else "",
        dec=partition.dec if partition else "",
        description=table.declaration.description,
        created=now,
    )
    try:
        with ThreadPoolExecutor(_PARALLEL_LINKS) as pool:
            tasks = [
                pool.submit(_publish_pixel, table, snapshot, f"{folder}/{name}", pixel, files)
                for pixel, files in snapshot.pixels().items()
            ]
        made = [task.result() for task in tasks]
        leaves = [leaf for leaf, _ in made]
        # Links keep the identity of their files: what two publications share is compared without reading it.
        linked: dict[str, object] = {hats.leaf_path(leaf.pixel): source for leaf, source in made if source}
        _write_json(storage, paths.publication_sources(name, version), linked)
        schema = arrow_schema(table.declaration)
        hats.finish_collection(storage, folder, facts, leaves, schema, margin_arcsec)
    except BaseException:
        storage.delete_tree(folder)
        raise
    published = PublishedCatalog(
        name=name,
        uri=storage.uri(folder),
        version=version,
        table_version=snapshot.version,
        rows=sum(leaf.rows for leaf in leaves),
        files=len(leaves),
        content=content,
        created=now.isoformat(),
    )
    told = {field: value for field, value in asdict(published).items() if field != "uri"}
    _write_json(storage, paths.publication(name, version), {"whole": True, **told})
    _point_latest(storage, name, version)
    return published


def _claim(storage: Storage, name: str, now: datetime) -> int:
    """Take the next number; of several publishers each gets its own."""
    version = max(versions(storage, name), default=0) + 1
    while True:
        claim = json.dumps({"whole": False, "created": now.isoformat()}).encode()
        try:
            storage.put_bytes_atomically(claim, paths.publication(name, version), exclusive=True)
        except FileExistsError:
            version += 1
        else:
            return version


def _point_latest(storage: Storage, name: str, version: int) -> None:
    """Let ``latest`` name a version, unless a faster publisher of a newer one was here."""
    with storage.turn(f"{name}.latest", _POINTER_PATIENCE_S):
        current = latest(storage, name)
        if current is None or current.version < version:
            storage.put_bytes_atomically(f"v{version}\n".encode(), paths.latest(name))


def _publish_pixel(
    table: Table, snapshot: Snapshot, folder: str, pixel: Pixel, files: list[DataFile]
) -> tuple[hats.Leaf, str]:
    """Link a pixel's file into a catalogue; write it anew if it is several or lacks newer columns.

    Returns
    -------
    Leaf
    str
        The file of the Delta table that it is a link to; empty if it was written anew.
    """
    schema = arrow_schema(table.declaration)
    if len(files) == 1:
        footer = pq.read_metadata(snapshot.full_path(files[0]), filesystem=snapshot.filesystem)
        if footer.schema.to_arrow_schema().equals(schema, check_metadata=False):
            table.storage.copy_or_link(snapshot.path(files[0]), f"{folder}/{hats.leaf_path(pixel)}")
            return hats.Leaf(pixel, files[0].rows, files[0].size, footer), files[0].path
    rows = layout.sorted_rows(snapshot.load(files), table.declaration.key)
    return hats.write_leaf(table.storage, folder, pixel, rows), ""


def content_digest(snapshot: Snapshot) -> str:
    """Identify a file set: upkeep such as vacuum makes versions of the same files."""
    return hashlib.sha256("\n".join(sorted(file.path for file in snapshot.files)).encode()).hexdigest()


def expire(storage: Storage, name: str, *, keep: int = 3) -> list[int]:
    """Delete all but the newest whole publications of a table; ``latest`` and those of releases always stay.

    Parameters
    ----------
    storage : Storage
    name : str
        Of the table.
    keep : int
        How many stay, at least 1.

    Returns
    -------
    list of int
        The versions deleted.
    """
    current = latest(storage, name)
    kept = pinned_publications(storage, name) | ({current.version} if current else set())
    whole = [number for number in versions(storage, name) if read_publication(storage, name, number)]
    gone = [number for number in whole[: -max(keep, 1)] if number not in kept]
    for number in gone:
        storage.delete_tree(paths.collection_version(name, number))
    return gone


def sweep_unfinished(storage: Storage, name: str, *, older_than_hours: float, now: datetime) -> list[int]:
    """Delete publications that were begun long ago and never finished.

    Returns
    -------
    list of int
        The versions deleted.
    """
    gone = []
    kept = pinned_publications(storage, name)
    for number in versions(storage, name):
        if number in kept or read_publication(storage, name, number) is not None:
            continue
        try:
            told = json.loads(storage.read_bytes(paths.publication(name, number)))
            begun = datetime.fromisoformat(told["created"])
        except FileNotFoundError:
            begun = datetime.min.replace(tzinfo=UTC)  # without a claim it is the rest of a deletion
        if (now - begun).total_seconds() >= older_than_hours * 3600.0:
            storage.delete_tree(paths.collection_version(name, number))
            gone.append(number)
    return gone


def _write_json(storage: Storage, path: str, content: dict[str, object]) -> None:
    storage.put_bytes_atomically(json.dumps(content, indent=1).encode(), path)
