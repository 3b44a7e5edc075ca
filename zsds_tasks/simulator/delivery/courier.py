"""How a camera delivers: each file is written under a hidden name and appears whole, in order of time.

A file sent again takes the name of the first: if that one was taken away by then it is a duplicate or a
conflict, otherwise it replaces it unseen.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from zsds_tasks.errors import TransientError
from zsds_tasks.simulator.delivery.faults import Fault, Outcome, first_outcome

POLL_S = 0.2

DELIVERY_SCHEMA = pa.schema(
    [
        pa.field("sequence", pa.int32(), nullable=False),
        pa.field("expid", pa.int64(), nullable=False),
        pa.field("ccdid", pa.int16(), nullable=False),
        pa.field("imgtypecode", pa.string(), nullable=False),
        pa.field("programid", pa.int16(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
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
    """One arrival (or absence) of a file, what befell it, and what ingest ought to make of it."""

    file: WrittenFile
    fault: Fault
    expected: Outcome


class Courier:
    """Brings the files of a night to the incoming folder, in the order in which it is given them.

    Parameters
    ----------
    incoming : Path
        Where they appear.
    """

    def __init__(self, incoming: Path) -> None:
        self.incoming = incoming
        self.deliveries: list[Delivery] = []
        self._late: list[WrittenFile] = []
        self._again: list[tuple[WrittenFile, Fault]] = []

    @property
    def count(self) -> int:
        """How many files arrived."""
        return sum(d.expected != Outcome.MISSING for d in self.deliveries)

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(d.file.size for d in self.deliveries if d.expected != Outcome.MISSING)

    def take(self, file: WrittenFile, again: WrittenFile | None, fault: Fault) -> None:
        """Deliver a file, or keep it for later if it is late; keep what is to be sent again."""
        if fault == Fault.LATE:
            self._late.append(file)
            return
        if fault != Fault.LOST:
            file.hidden.replace(self.incoming / file.name)
        self.deliveries.append(Delivery(file, fault, first_outcome(fault)))
        if again:
            self._again.append((again, fault))

    def finish(self, patience_s: float) -> None:
        """Deliver what is late, then what is sent again.

        A name that is still taken is waited for; after `patience_s` the second file replaces the first, as a
        copying program would.
        """
        for file in self._late:
            file.hidden.replace(self.incoming / file.name)
            self.deliveries.append(Delivery(file, Fault.LATE, Outcome.INGESTED))
        deadline = time.monotonic() + patience_s
        for file, fault in self._again:
            while (self.incoming / file.name).exists() and time.monotonic() < deadline:
                time.sleep(POLL_S)
            self._send_again(file, fault)

    def _send_again(self, file: WrittenFile, fault: Fault) -> None:
        expected = Outcome.DUPLICATE if fault == Fault.DUPLICATE else Outcome.QUARANTINED
        try:
            # A link fails where a rename would replace: so the truth knows which of the two happened.
            os.link(file.hidden, self.incoming / file.name)
            file.hidden.unlink()
        except FileExistsError:
            file.hidden.replace(self.incoming / file.name)
            expected = Outcome.INGESTED
            self.deliveries = [
                dataclasses.replace(d, expected=Outcome.REPLACED) if d.file.name == file.name else d
                for d in self.deliveries
            ]
        self.deliveries.append(Delivery(file, fault, expected))


def write_hidden(path: Path, content: bytes) -> None:
    """Write a file durably where nobody looks for it yet.

    Raises
    ------
    TransientError
        If the disk refuses.
    """
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
            "bytes": d.file.size,
            "sha256": d.file.sha256,
            "fault": d.fault.value,
            "expected": d.expected.value,
        }
        for i, d in enumerate(deliveries)
    ]
    return pa.Table.from_pylist(rows, schema=DELIVERY_SCHEMA)
