"""The archive of a night: one tar.gz of packets, as in the public alert archive (reference section 7.6)."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from zsds_tasks.broker.messages import Message
from zsds_tasks.broker.outbox import Outbox


def write_archive(outbox: Outbox, topic: str, place: Path, level: int = 6) -> int:
    """Write every packet of a topic into one file; the same packets give the same bytes.

    Parameters
    ----------
    outbox : Outbox
        It is the source, not the broker: what Kafka lost or forgot is in it.
    topic : str
    place : Path
        The file to write, for example ``ztf_public_<YYYYMMDD>.tar.gz``; the caller puts it where it belongs.
    level : int
        Effort of gzip.

    Returns
    -------
    int
        How many packets, ``<candid>.avro`` each.

    Raises
    ------
    UnusableInputError
        If a bundle cannot be read.
    """
    return write_packets(outbox.everything(topic), place, level)


def write_packets(messages: Iterable[Message], place: Path, level: int = 6) -> int:
    """Write packets into one tar.gz, without times and owners; return how many."""
    count = 0
    with (
        place.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=level, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for message in messages:
            tar.addfile(_member(message), io.BytesIO(message.payload))
            count += 1
    return count


def _member(message: Message) -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"{message.candid}.avro")
    info.size = len(message.payload)
    return info
