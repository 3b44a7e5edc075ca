"""How a camera delivers: each file is written under a hidden name and appears whole, in order of time.

A file sent again goes to the folder ``resent`` of the incoming folder: the first may still lie there unread.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from zsds_tasks.errors import TransientError
from zsds_tasks.simulator.faults import Fault, Outcome

RESENT_FOLDER = "resent"

DELIVERY_SCHEMA = pa.schema(
    [
        pa.field("sequence", pa.int32(), nullable=False),
        pa.field("expid", pa.int64(), nullable=False),
        pa.field("ccdid", pa.int16(), nullable=False),
        pa.field("imgtypecode", pa.string(), nullable=False),
        pa.field("programid", pa.int16(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("fault", pa.string(), nullable=False),
        pa.field("expected", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class WrittenFile:
    """A file that waits under its hidden name."""

    expid: int
    ccdid: int
    imgtypecode: str
    programid: int
    name: str
    hidden: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Delivery:
    """One arrival (or absence) of a file; `path` is relative to the incoming folder."""

    file: WrittenFile
    path: str
    fault: Fault
    expected: Outcome


def write_hidden(folder: Path, name: str, content: bytes) -> Path:
    """Write a file durably where nobody looks for it, on the same file system as its final place."""
    path = folder / name
    try:
        with path.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise TransientError(
            f"cannot write a raw file: {error.strerror}",
            subject=str(path),
            remedy="free space on the disk of the incoming folder or set ZSDS_INCOMING elsewhere",
        ) from error
    return path


def deliver(incoming: Path, file: WrittenFile, fault: Fault, expected: Outcome) -> Delivery:
    """Let a hidden file appear in the incoming folder under its own name."""
    file.hidden.replace(incoming / file.name)
    return Delivery(file, file.name, fault, expected)


def deliver_again(incoming: Path, file: WrittenFile, fault: Fault, expected: Outcome) -> Delivery:
    """Let a hidden file appear among those sent again."""
    (incoming / RESENT_FOLDER).mkdir(exist_ok=True)
    path = f"{RESENT_FOLDER}/{file.name}"
    file.hidden.replace(incoming / path)
    return Delivery(file, path, fault, expected)


def open_spool(incoming: Path, label: str) -> Path:
    """Return an empty hidden folder of the incoming folder; what a killed run left there is removed."""
    spool = incoming / f".arriving-{label}"
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir(parents=True)
    return spool


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def delivery_table(deliveries: list[Delivery]) -> pa.Table:
    """Return deliveries as rows of truth, in order of arrival."""
    rows = [
        {
            "sequence": i,
            "expid": d.file.expid,
            "ccdid": d.file.ccdid,
            "imgtypecode": d.file.imgtypecode,
            "programid": d.file.programid,
            "name": d.file.name,
            "path": d.path,
            "bytes": d.file.size,
            "sha256": d.file.sha256,
            "fault": d.fault.value,
            "expected": d.expected.value,
        }
        for i, d in enumerate(deliveries)
    ]
    return pa.Table.from_pylist(rows, schema=DELIVERY_SCHEMA)
