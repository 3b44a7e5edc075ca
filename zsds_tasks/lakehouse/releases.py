"""Releases: what was published together, under one number, and is read together ever after.

A release is a folder ``releases/dr<N>`` whose ``release.json`` names one publication of each table. That file
is written last: a folder without it is no release. Making one is the business of
`zsds_tasks.lakehouse.release_making`; here they are read, listed, withdrawn, and their publications kept.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import paths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zsds_tasks.lakehouse.storage import Storage

DESCRIPTION_FILE = "release.json"
CLAIM_FILE = "claim.json"
IMAGES_FILE, UNITS_FILE = "images.parquet", "units.parquet"
Status = Literal["public", "withdrawn"]
PUBLIC: Status = "public"
WITHDRAWN: Status = "withdrawn"
_NAME = re.compile(r"dr([1-9][0-9]{0,8})")
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class ReleasedColumn:
    """A column as it was released; the fields are those of its declaration."""

    name: str
    type: str
    unit: str
    ucd: str
    description: str
    nullable: bool


@dataclass(frozen=True)
class ReleasedTable:
    """A table as a release shows it."""

    name: str
    kind: Literal["hats", "parquet"]
    uri: str
    """A HATS collection, or one Parquet file for a table without positions."""
    publication: int | None
    """Number of the HATS publication; None for a Parquet file."""
    table_version: int
    """The Delta version it shows."""
    rows: int
    files: int
    bytes: int
    """Of its Parquet files, margins not counted."""
    content: str
    """Digest: the same for the same files."""
    key: tuple[str, ...]
    columns: tuple[ReleasedColumn, ...]
    processing_versions: Mapping[str, int] = field(default_factory=dict)
    """Rows by processing version; empty for a table that has no such column."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the small files that make a catalogue, by path below `uri`; of a Parquet file its own."""


@dataclass(frozen=True)
class Release:
    """One release."""

    number: int
    title: str
    description: str
    created: datetime
    """UTC."""
    status: Status
    tables: Mapping[str, ReleasedTable]
    left_out: Mapping[str, str]
    """Tables that belong to releases and are not in this one, each with the reason."""
    previous: int | None
    """The release that ``changes.json`` compares with."""
    first_night: str
    last_night: str
    """Observing nights of the images in it, YYYYMMDD; empty where none are known."""
    image_versions: Mapping[str, int]
    """Images by processing version."""
    code_version: str
    configuration: Mapping[str, str]
    """SHA-256 of each configuration file, by path below ``include``."""
    checksums: Mapping[str, str]
    """SHA-256 of the files of the folder, by name."""
    uri: str
    """The folder."""
    withdrawn: datetime | None = None
    reason: str = ""
    """Why it was withdrawn."""

    @property
    def name(self) -> str:
        """``dr<N>``."""
        return f"dr{self.number}"


def number_of(name: str) -> int:
    """Return the number in a release's name.

    Raises
    ------
    UnusableInputError
        If it is not ``dr<N>``.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise UnusableInputError(
            "is no name of a release", subject=repr(name), remedy="releases are called dr1, dr2, ..."
        )
    return int(found[1])


def numbers(storage: Storage, *, unfinished: bool = False) -> list[int]:
    """Return the numbers of all whole releases, withdrawn ones included, or of unfinished ones; sorted."""
    found = []
    for child in storage.children(paths.RELEASES):
        name = _NAME.fullmatch(child)
        if name is None:
            continue
        number = int(name[1])
        if storage.exists(paths.release_file(number, DESCRIPTION_FILE)) is not unfinished:
            found.append(number)
    return sorted(found)


def read_release(storage: Storage, number: int) -> Release:
    """Return a release, withdrawn or not.

    Raises
    ------
    UnusableInputError
        If there is no release of this number; an unfinished one is none.
    """
    try:
        told = json.loads(storage.read_bytes(paths.release_file(number, DESCRIPTION_FILE)))
    except FileNotFoundError:
        known = ", ".join(f"dr{one}" for one in numbers(storage)) or "none yet"
        raise UnusableInputError(
            "there is no such release", subject=f"dr{number}", remedy=f"releases: {known}"
        ) from None
    return _release_of(storage, told)


def list_releases(storage: Storage) -> list[Release]:
    """Return all releases, oldest first, withdrawn ones included."""
    return [read_release(storage, number) for number in numbers(storage)]


def latest_release(storage: Storage) -> Release | None:
    """Return the newest release that is not withdrawn; None if there is none."""
    for number in reversed(numbers(storage)):
        release = read_release(storage, number)
        if release.status == PUBLIC:
            return release
    return None


def withdraw(storage: Storage, number: int, reason: str, now: datetime) -> Release:
    """Withdraw a release: it stays readable by its number and is never the latest again.

    Its publications are kept no longer than others; see `pinned_publications`. Withdrawing it once
    more changes nothing.

    Parameters
    ----------
    storage : Storage
    number : int
    reason : str
        A sentence for those who used it.
    now : datetime
        UTC.

    Returns
    -------
    Release
        As it stands now.

    Raises
    ------
    UnusableInputError
        If there is no such release or no reason.
    """
    if not reason.strip():
        raise UnusableInputError(
            "a release is withdrawn for a reason", subject=f"dr{number}", remedy="say what is wrong with it"
        )
    with storage.turn(paths.RELEASES, _PATIENCE_S):
        release = read_release(storage, number)
        if release.status == WITHDRAWN:
            return release
        gone = replace(release, status=WITHDRAWN, withdrawn=now, reason=reason.strip())
        storage.put_bytes_atomically(encode_release(gone), paths.release_file(number, DESCRIPTION_FILE))
    return gone


def pinned_publications(storage: Storage, name: str) -> frozenset[int]:
    """Return the publications of a table that must stay: of releases not withdrawn or in the making."""
    kept: set[int] = set()
    # Those in the making first: one that is finished meanwhile is among the whole ones then.
    for number in numbers(storage, unfinished=True):
        try:
            claim = json.loads(storage.read_bytes(paths.release_file(number, CLAIM_FILE)))
        except FileNotFoundError:
            continue  # finished or cleared away meanwhile, or the rest of a deletion
        kept |= {publication for of, publication in claim["publications"].items() if of == name}
    for release in list_releases(storage):
        table = release.tables.get(name)
        if release.status == PUBLIC and table is not None and table.publication is not None:
            kept.add(table.publication)
    return frozenset(kept)


def encode_release(release: Release) -> bytes:
    """Return the content of ``release.json``; addresses are left out, so that an archive may be moved."""
    told = asdict(release)
    told.pop("uri")
    for table in told["tables"].values():
        table.pop("uri")
    for moment in ("created", "withdrawn"):
        told[moment] = told[moment].isoformat() if told[moment] else None
    return json.dumps(told, indent=1).encode()


def table_path(number: int, name: str, publication: int | None) -> str:
    """Return where a table of a release lies: a publication, or a Parquet file beside ``release.json``."""
    if publication is None:
        return paths.release_file(number, f"{name}.parquet")
    return paths.collection_version(name, publication)


def _release_of(storage: Storage, told: dict[str, Any]) -> Release:
    number = told["number"]
    tables = {}
    for name, facts in told.pop("tables").items():
        columns = tuple(ReleasedColumn(**column) for column in facts.pop("columns"))
        uri = storage.uri(table_path(number, name, facts["publication"]))
        tables[name] = ReleasedTable(uri=uri, columns=columns, key=tuple(facts.pop("key")), **facts)
    for moment in ("created", "withdrawn"):
        told[moment] = datetime.fromisoformat(told[moment]) if told[moment] else None
    return Release(uri=storage.uri(paths.release(number)), tables=tables, **told)
