"""The alert packet: its published schema and, derived from it, the names and types of every field.

The schema is ``include/schemas/avro/alert-<version>.avsc``, ZTF's of that version field for field (reference
sections 6.8 and 7.4; the sentences are ours). A published schema is never edited: a change is a new file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from zsds_tasks.errors import DeclarationError, UnusableInputError
from zsds_tasks.settings import load_settings

VERSION: Final = "4.02"
MISSING: Final = -999.0
"""What a packet says where there is no number: no Solar-System object near, no magnitude."""
MISSING_FLUX: Final = -99999.0
"""The same for forced fluxes and for the place of a reference source that is not there."""
CUTOUTS: Final = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
PRIMITIVES: Final = frozenset({"int", "long", "float", "double", "string", "bytes"})

Row = dict[str, Any]
Packet = dict[str, Any]


@dataclass(frozen=True)
class PacketField:
    """A field of a record.

    Parameters
    ----------
    name : str
    kind : str
        An Avro primitive, or "record".
    is_nullable : bool
        A union with null, null first.
    has_default : bool
        The default is null.
    is_array : bool
        A list of `record`.
    record : RecordType, optional
        What a nested field holds.
    doc : str
    """

    name: str
    kind: str
    is_nullable: bool
    has_default: bool
    is_array: bool
    record: RecordType | None
    doc: str


@dataclass(frozen=True)
class RecordType:
    """A record of the packet: its name and its fields in the order they are written."""

    name: str
    fields: tuple[PacketField, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Published names, in order."""
        return tuple(field.name for field in self.fields)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Names that must have a value."""
        return tuple(field.name for field in self.fields if not field.is_nullable)

    def __getitem__(self, name: str) -> PacketField:
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"{self.name} has no field {name!r}")

    def complete(self, row: Mapping[str, Any]) -> Row:
        """Return a row with exactly the fields of this record, null where it has none.

        Raises
        ------
        UnusableInputError
            If a required field is absent or null; names all of them.
        """
        full = {name: row.get(name) for name in self.names}
        absent = [name for name in self.required if full[name] is None]
        if absent:
            raise UnusableInputError(
                f"no value for {', '.join(absent)}",
                subject=f"{self.name} {row.get('candid', row.get('pid', ''))}".strip(),
                remedy="compute what the schema requires, or leave the row out",
            )
        return full


@dataclass(frozen=True)
class PacketSchema:
    """A version of the packet.

    Parameters
    ----------
    version : str
    text : str
        The schema as embedded in every packet: JSON without blanks.
    alert : RecordType
        The packet itself.
    """

    version: str
    text: str
    alert: RecordType

    def record(self, name: str) -> RecordType:
        """Return a record of the packet by its published name, for example ``prv_candidate``.

        Raises
        ------
        KeyError
            If there is none; names those there are.
        """
        if name not in self._known:
            raise KeyError(f"no record {name!r} in schema {self.version}; there are {', '.join(self._known)}")
        return self._known[name]

    @cached_property
    def _known(self) -> dict[str, RecordType]:
        return {record.name: record for record in _records(self.alert)}


def _records(record: RecordType) -> Iterator[RecordType]:
    yield record
    for field in record.fields:
        if field.record is not None:
            yield from _records(field.record)


@lru_cache(maxsize=8)
def load_packet_schema(version: str = VERSION, include: Path | None = None) -> PacketSchema:
    """Read a published schema.

    Parameters
    ----------
    version : str
    include : Path, optional
        Folder of declarations; default that of the installation.

    Raises
    ------
    DeclarationError
        If there is no such version, or the file holds what a packet cannot be made of.
    """
    folder = (include or load_settings().include) / "schemas" / "avro"
    path = folder / f"alert-{version}.avsc"
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(sorted(p.stem.removeprefix("alert-") for p in folder.glob("alert-*.avsc")))
        raise DeclarationError(
            "no such schema", subject=str(path), remedy=f"versions here: {known or 'none'}"
        ) from error
    except ValueError as error:
        raise DeclarationError(f"not JSON: {error}", subject=str(path), remedy="mend the syntax") from error
    try:
        return PacketSchema(version, json.dumps(tree, separators=(",", ":")), _parse_record(tree, {}))
    except (KeyError, TypeError, ValueError) as error:
        raise DeclarationError(
            f"no schema of a packet: {error}", subject=str(path), remedy="restore the published file"
        ) from error


def _parse_record(tree: Mapping[str, Any], known: dict[str, RecordType]) -> RecordType:
    if tree["type"] != "record":
        raise ValueError(f"a record was expected, not {tree['type']!r}")
    record = RecordType(tree["name"], tuple(_parse_field(field, known) for field in tree["fields"]))
    known[f"{tree['namespace']}.{tree['name']}"] = record
    return record


def _parse_field(tree: Mapping[str, Any], known: dict[str, RecordType]) -> PacketField:
    kind = tree["type"]
    is_nullable = isinstance(kind, list)
    if isinstance(kind, list):
        if len(kind) != 2 or kind[0] != "null":
            raise ValueError(f"{tree['name']}: the only union is one of null and a type, not {kind}")
        kind = kind[1]
    is_array = isinstance(kind, dict) and kind["type"] == "array"
    inner = kind["items"] if is_array else kind
    record = None
    if isinstance(inner, dict):
        record = _parse_record(inner, known)
    elif inner not in PRIMITIVES or is_array:
        record = known[inner]
    return PacketField(
        name=tree["name"], kind=inner if record is None else "record", is_nullable=is_nullable,
        has_default="default" in tree, is_array=is_array, record=record, doc=tree.get("doc", ""),
    )  # fmt: skip
