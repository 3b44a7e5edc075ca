"""Make a release: publish its tables, describe them, and name them together in one file written last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from zsds_tasks import __version__
from zsds_tasks.errors import NothingToDoError, TransientError, UnusableInputError
from zsds_tasks.lakehouse import paths
from zsds_tasks.lakehouse.difference_origins import NIGHT, VERSION, images_at
from zsds_tasks.lakehouse.difference_references import references_at
from zsds_tasks.lakehouse.difference_states import state_in_release
from zsds_tasks.lakehouse.differences import TableDifference, compare_states
from zsds_tasks.lakehouse.encoding import encode
from zsds_tasks.lakehouse.publish import read_publication
from zsds_tasks.lakehouse.release_claims import claim_number
from zsds_tasks.lakehouse.release_config import ReleasesConfig, load_releases_config
from zsds_tasks.lakehouse.release_documents import datacite, describe_changes, describe_release
from zsds_tasks.lakehouse.release_maps import SkyMap, count_rows, moc_fits, resolved, union
from zsds_tasks.lakehouse.release_pictures import draw_map
from zsds_tasks.lakehouse.release_tables import Part, gather_parts, require_checked, table_of, versions_of
from zsds_tasks.lakehouse.releases import (
    DESCRIPTION_FILE,
    IMAGES_FILE,
    PUBLIC,
    UNITS_FILE,
    Release,
    encode_release,
    latest_release,
    read_release,
)

if TYPE_CHECKING:
    from pathlib import Path

    from zsds_tasks.lakehouse.lakehouse import Lakehouse
    from zsds_tasks.lakehouse.storage import Storage
    from zsds_tasks.settings import Settings

_PATIENCE_S = 600.0
"""How long a maker waits for another one on the same disk, which may make just what it wants."""


def make_release(
    lakehouse: Lakehouse,
    settings: Settings,
    *,
    title: str | None = None,
    now: datetime | None = None,
    config: ReleasesConfig | None = None,
    checked: Mapping[str, int | None] | None = None,
) -> Release:
    """Make the next release of the tables as they are now.

    Nothing of it is visible before ``release.json`` is written; killed earlier, it is made by the next call.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        Name the folder of the configuration.
    title : str, optional
        By default that of the configuration with the number.
    now : datetime, optional
        Time to write into it; by default the clock.
    config : ReleasesConfig, optional
        By default that of ``include/config/releases.yaml``.
    checked : mapping of str to int or None, optional
        Delta versions of tables that were found good: one of them with other rows is not released.

    Returns
    -------
    Release
        The new one, or the latest if no row has changed since it.

    Raises
    ------
    NothingToDoError
        If no table over the sky has rows.
    ConfigurationError
        If a table is not declared or the configuration is wrong.
    UncheckedError
        If a table has changed since ``checked``.
    TransientError
        If storage or writers of the tables are in the way.
    """
    config = config or load_releases_config(settings.include)
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    storage = lakehouse.storage
    with storage.turn(f"{paths.RELEASES}.make", _PATIENCE_S):
        parts, left_out = gather_parts(lakehouse, config.tables, moment)
        require_checked(lakehouse, parts, checked)
        if not any(part.publication for part in parts):
            raise NothingToDoError(
                "no table over the sky has rows to release", remedy="make light curves first"
            )
        previous = latest_release(storage)
        contents = {part.name: part.content for part in parts}
        if previous and contents == {name: table.content for name, table in previous.tables.items()}:
            return previous
        publications = {part.name: part.publication for part in parts if part.publication}
        number = claim_number(storage, publications, moment)
        try:
            _require_kept(storage, publications)
            draft = Release(
                number=number,
                title=title or f"{config.title}, data release {number}",
                description=config.description,
                created=moment,
                status=PUBLIC,
                tables={},
                left_out=left_out,
                previous=previous.number if previous else None,
                first_night="",
                last_night="",
                image_versions={},
                code_version=__version__,
                configuration=_configuration(settings.include),
                checksums={},
                uri=storage.uri(paths.release(number)),
            )
            made = _Maker(lakehouse, config, draft, previous).make(parts)
        except BaseException:
            # What went wrong after it was there to be seen (the folder's fsync, a signal) takes nothing back.
            if not storage.exists(paths.release_file(number, DESCRIPTION_FILE)):
                storage.delete_tree(paths.release(number))
            raise
        if made is None:
            storage.delete_tree(paths.release(number))
            assert previous is not None  # noqa: S101 - only what has a predecessor can equal it
            return previous
        return read_release(storage, number)


@dataclass(frozen=True)
class _Changes:
    """What changed against the previous release."""

    differences: tuple[TableDifference, ...]
    gained: Mapping[str, int]
    lost: tuple[str, ...]
    unknown: Mapping[str, str]

    @property
    def is_empty(self) -> bool:
        """Whether every table is the same."""
        others = self.gained or self.lost or self.unknown
        return not others and all(one.is_empty for one in self.differences)


class _Maker:
    """Writes the files of one release below its claimed number."""

    def __init__(
        self, lakehouse: Lakehouse, config: ReleasesConfig, draft: Release, previous: Release | None
    ) -> None:
        self._lakehouse = lakehouse
        self._storage = lakehouse.storage
        self._config = config
        self._release = draft
        self._previous = previous
        self._checksums: dict[str, str] = {}

    def make(self, parts: list[Part]) -> Release | None:
        """Write everything, ``release.json`` last; None if nothing has changed since the previous release."""
        for part in parts:
            if part.rows_encoded is not None:
                self._put(f"{part.name}.parquet", memoryview(part.rows_encoded))
        self._take_images()
        tables = {part.name: table_of(self._lakehouse, self._release.number, part) for part in parts}
        self._release = replace(self._release, tables=tables)
        changes = self._changes()
        if self._previous and changes.is_empty:
            return None
        counted = {
            name: replace(table, processing_versions=versions_of(self._state(name)))
            for name, table in self._release.tables.items()
        }
        self._release = replace(self._release, tables=counted)
        self._put_changes(changes)
        self._put_maps()
        self._put_json("datacite.json", datacite(self._release, self._config))
        self._put("data-dictionary.md", describe_release(self._release).encode())
        whole = replace(self._release, checksums=dict(sorted(self._checksums.items())))
        target = paths.release_file(whole.number, DESCRIPTION_FILE)
        self._storage.put_bytes_atomically(encode_release(whole), target, exclusive=True)
        return whole

    def _state(self, name: str) -> Any:
        return state_in_release(self._storage, self._release, name)

    def _take_images(self) -> None:
        """Note what light curves were made of, images and references, and what follows from them."""
        units = references_at(self._lakehouse, None)
        if units is not None and units.num_rows:
            self._put(UNITS_FILE, memoryview(encode(units)))
        images = images_at(self._lakehouse, None)
        if images is None or images.num_rows == 0:
            return
        self._put(IMAGES_FILE, memoryview(encode(images.sort_by("pid"))))
        nights = pc.min_max(images[NIGHT]).as_py()
        versions = {one["values"]: one["counts"] for one in pc.value_counts(images[VERSION]).to_pylist()}
        self._release = replace(
            self._release,
            first_night=nights["min"],
            last_night=nights["max"],
            image_versions=dict(sorted(versions.items())),
        )

    def _changes(self) -> _Changes:
        old = self._previous.tables if self._previous else {}
        new = self._release.tables
        differences, unknown = [], {}
        for name in new:
            if self._previous is None or name not in old:
                continue
            try:
                before = state_in_release(self._storage, self._previous, name)
                differences.append(compare_states(self._lakehouse, before, self._state(name)))
            except UnusableInputError as error:
                unknown[name] = error.reason
        gained = {name: table.rows for name, table in new.items() if name not in old}
        return _Changes(tuple(differences), gained, tuple(name for name in old if name not in new), unknown)

    def _put_changes(self, changes: _Changes) -> None:
        previous = self._previous.name if self._previous else ""
        told = {
            "release": self._release.name,
            "previous": previous or None,
            "tables": {one.table: one.as_dict() for one in changes.differences},
            "gained": dict(changes.gained),
            "lost": list(changes.lost),
            "unknown": dict(changes.unknown),
        }
        self._put_json("changes.json", told)
        text = describe_changes(
            self._release.name,
            previous,
            changes.differences,
            changes.gained,
            changes.lost,
            changes.unknown,
        )
        self._put("CHANGES.md", text.encode())

    def _put_maps(self) -> None:
        maps: dict[str, SkyMap] = {
            name: count_rows(self._state(name))
            for name, table in self._release.tables.items()
            if table.publication
        }
        self._put("moc.fits", moc_fits(resolved(union(maps.values()))))
        shown = self._config.mapped if self._config.mapped in maps else next(iter(maps))
        rows = self._release.tables[shown].rows
        title = f"{self._release.title}\n{rows:,} rows of {shown}"
        self._put("sky.png", draw_map(resolved(maps[shown]), title))

    def _put_json(self, name: str, content: object) -> None:
        self._put(name, json.dumps(content, indent=1, default=str, ensure_ascii=False).encode())

    def _put(self, name: str, content: bytes | memoryview) -> None:
        self._checksums[name] = hashlib.sha256(content).hexdigest()
        self._storage.put_bytes_atomically(content, paths.release_file(self._release.number, name))


def _require_kept(storage: Storage, publications: Mapping[str, int]) -> None:
    """Make sure that no publication expired before it was claimed."""
    for name, version in publications.items():
        if read_publication(storage, name, version) is None:
            raise TransientError(
                f"publication v{version} expired before it was released",
                subject=name,
                remedy="the work is retried",
            )


def _configuration(include: Path) -> dict[str, str]:
    """Return the digest of every configuration file, the scheduler's own left out."""
    folder = include / "config"
    files = [
        path for path in sorted(folder.rglob("*.yaml")) if "airflow" not in path.relative_to(folder).parts
    ]
    return {
        path.relative_to(include).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
