"""Packets that wait for the broker: files in a folder, safe against a kill at any moment.

    <outbox>/<topic>/<bundle>.tar          packets that wait: members <objectId>/<candid>.avro
    <outbox>/<topic>/sent.candids          20 characters for each candid a broker has confirmed
    <outbox>/<topic>/attempt.json          where the topic's partitions ended when delivery began
    <outbox>/<topic>/sent/<bundle>.tar     bundles of which all has been confirmed

A bundle is what one exposure has for one topic: it appears as a whole (temporary name, fsync, rename) or
not at all, and putting it again replaces it. It is kept when sent: the nightly archive is made of bundles.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zsds_tasks.broker.messages import Message
from zsds_tasks.errors import TransientError, UnusableInputError

logger = logging.getLogger(__name__)

RECORD = 20
"""Characters of the ledger per candid: 19 digits and the end of the line."""
SPOILT = ".spoilt"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Outbox:
    """The packets of an installation that no broker has confirmed yet.

    Parameters
    ----------
    folder : Path
        Made when something is first put.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, topic: str, bundle: str, messages: Iterable[Message]) -> int:
        """Store packets until they are delivered; the same bundle again replaces what it held.

        Parameters
        ----------
        topic : str
        bundle : str
            Names what belongs together, for example the exposure.
        messages : iterable of Message

        Returns
        -------
        int
            How many of them no broker has confirmed yet: a candid that has been sent is not sent again.

        Raises
        ------
        TransientError
            If the disk does not take them.
        """
        place = self._topic(topic) / f"{_checked(bundle)}.tar"
        with _disk(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            with self._locked("put", wait=True):
                candids = _write_atomically(place, messages)
        return len(candids - self.sent(topic))

    def topics(self) -> list[str]:
        """Return the topics that have bundles waiting, in order."""
        return sorted({place.parent.name for place in self.folder.glob("*/*.tar")})

    def pending(self, topic: str) -> Iterator[Message]:
        """Yield what no broker has confirmed, each candid once, in the order of bundles and candids.

        A bundle that cannot be read is set aside (`spoilt`) and does not keep the others waiting.
        """
        done = self.sent(topic)
        for place in sorted(self._topic(topic).glob("*.tar")):
            for message in _read_or_set_aside(place):
                if message.candid not in done:
                    done.add(message.candid)
                    yield message

    def spoilt(self) -> list[Path]:
        """Return bundles that could not be read; to be deleted when their exposures have been run again."""
        return sorted(self.folder.glob(f"*/*{SPOILT}"))

    def everything(self, topic: str) -> Iterator[Message]:
        """Yield every packet of a topic, sent or not, each candid once: the archive is made of these."""
        folder, told = self._topic(topic), set[int]()
        # Of a bundle that was put again after it had been sent, the newer one is told.
        places = {place.name: place for place in (*folder.glob("sent/*.tar"), *folder.glob("*.tar"))}
        for name in sorted(places):
            for message in _read(places[name]):
                if message.candid not in told:
                    told.add(message.candid)
                    yield message

    def count(self) -> dict[str, int]:
        """Return how many packets wait, by topic."""
        return {topic: sum(1 for _ in self.pending(topic)) for topic in self.topics()}

    def sent(self, topic: str) -> set[int]:
        """Return the candids that a broker has confirmed."""
        try:
            text = (self._topic(topic) / "sent.candids").read_bytes()
        except FileNotFoundError:
            return set()
        # A kill may leave part of a record at the end; the broker is asked again about its candid.
        return {int(text[i : i + RECORD]) for i in range(0, len(text) // RECORD * RECORD, RECORD)}

    def mark_sent(self, topic: str, candids: Iterable[int]) -> None:
        """Remember that a broker has confirmed packets."""
        records = b"".join(f"{candid:019d}\n".encode() for candid in candids)
        place = self._topic(topic) / "sent.candids"
        with _disk(place), place.open("ab") as stream:
            stream.truncate(stream.tell() // RECORD * RECORD)
            stream.write(records)
            stream.flush()
            os.fsync(stream.fileno())

    def settle(self, topic: str) -> None:
        """Put bundles aside of which everything is confirmed."""
        with self._locked("put", wait=True):
            done = self.sent(topic)
            for place in sorted(self._topic(topic).glob("*.tar")):
                candids = {message.candid for message in _read_or_set_aside(place)}
                if candids <= done and place.exists():
                    aside = place.parent / "sent"
                    aside.mkdir(exist_ok=True)
                    place.replace(aside / place.name)

    def attempt(self, topic: str) -> dict[int, int] | None:
        """Return the ends of the partitions when an unfinished delivery began; None if there is none."""
        try:
            text = (self._topic(topic) / "attempt.json").read_text()
        except FileNotFoundError:
            return None
        return {int(partition): int(offset) for partition, offset in json.loads(text).items()}

    def begin_attempt(self, topic: str, ends: dict[int, int]) -> None:
        """Remember where partitions end before anything is sent."""
        place = self._topic(topic) / "attempt.json"
        with _disk(place), _replacing(place) as stream:
            stream.write(json.dumps(ends).encode())

    def end_attempt(self, topic: str) -> None:
        """Say that every packet sent since `begin_attempt` is confirmed and marked."""
        (self._topic(topic) / "attempt.json").unlink(missing_ok=True)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Keep every other process from delivering out of this outbox.

        Raises
        ------
        TransientError
            If another process is at it.
        """
        with self._locked("send", wait=False):
            yield

    def _topic(self, topic: str) -> Path:
        return self.folder / _checked(topic)

    @contextmanager
    def _locked(self, name: str, *, wait: bool) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".{name}.lock").open("ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise TransientError(
                    "another process delivers these alerts", subject=str(self.folder), remedy="wait for it"
                ) from error
            yield


def _checked(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise UnusableInputError("not a name of a topic or bundle", subject=repr(name))
    return name


def _write_atomically(place: Path, messages: Iterable[Message]) -> set[int]:
    candids: set[int] = set()
    with (
        _replacing(place) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for message in sorted(messages, key=lambda message: message.candid):
            # No time and no owner: the same packets are the same file.
            info = tarfile.TarInfo(f"{message.key}/{message.candid}.avro")
            info.size = len(message.payload)
            tar.addfile(info, io.BytesIO(message.payload))
            candids.add(message.candid)
    return candids


@contextmanager
def _replacing(place: Path) -> Iterator[io.BufferedWriter]:
    """Write a file that replaces another when it is complete and on the disk."""
    temporary = place.with_name(f".{place.name}.part")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(place)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read_or_set_aside(place: Path) -> Iterator[Message]:
    try:
        yield from _read(place)
    except UnusableInputError as error:
        logger.error("set aside: %s", error)  # noqa: TRY400 - the sentence says all
        place.replace(place.with_name(place.name + SPOILT))


def _read(place: Path) -> Iterator[Message]:
    try:
        with tarfile.open(place, "r:") as tar:
            for info in tar:
                stream = tar.extractfile(info)
                key, _, name = info.name.partition("/")
                if stream is None or not name.endswith(".avro"):
                    raise tarfile.ReadError(f"unexpected member {info.name!r}")
                yield Message(int(name.removesuffix(".avro")), key, stream.read())
    except (tarfile.TarError, ValueError) as error:
        raise UnusableInputError(
            f"no bundle of alerts: {error}", subject=str(place), remedy="delete it and run its exposure again"
        ) from error


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TransientError(
            f"cannot be written: {error.strerror}", subject=str(place), remedy="make room or mend the disk"
        ) from error
