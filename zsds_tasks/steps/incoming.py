"""The folder into which the camera delivers: what is complete, in which order, and one ingest at a time.

A camera writes under a temporary name and renames, others copy in place. A file is complete when it is a
regular file with a lasting name whose size and time of change have not moved for `settle_s` and which nobody
holds open for writing. A stalled upload taken for complete would go on into the file that was put away.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.errors import ConfigurationError, NothingToDoError, UnusableInputError
from zsds_tasks.survey.filenames import RawFileName

LOCK_NAME = ".zsds-ingest.lock"
TEMPORARY_ENDINGS = (".part", ".tmp", ".partial", ".filepart", "~")
KINDS = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFDIR: "folder",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "pipe",
    stat.S_IFREG: "file",
}


class IncomingConfig(Declaration):
    """How long to watch a file before it is believed complete."""

    settle_s: Annotated[float, Field(ge=0)] = Field(2.0, description="unchanged for this long is complete")
    writer_patience_s: Annotated[float, Field(ge=0)] = Field(
        600.0, description="unchanged for this long is complete, though someone still holds it open"
    )


class AnotherIngestError(NothingToDoError):
    """Another ingest works on this folder."""


@dataclass(frozen=True)
class Delivery:
    """One file as it was seen."""

    path: Path
    size: int
    modified_ns: int
    inode: int

    @property
    def name(self) -> str:
        """The name in printable form: bytes that are not UTF-8 appear as escapes."""
        return os.fsencode(self.path.name).decode("utf-8", "backslashreplace")

    def is_unchanged(self) -> bool:
        """Whether the name still leads to the same, unmodified file."""
        try:
            return look_at(self.path) == self
        except FileNotFoundError:
            return False


@dataclass(frozen=True)
class Contents:
    """What lies in the folder."""

    complete: tuple[Delivery, ...] = ()
    """Oldest first, by the instant in the name; other names last."""
    unsettled: tuple[Delivery, ...] = ()
    """Perhaps still being written."""
    foreign: tuple[tuple[str, str], ...] = field(default=())
    """Name and kind of what is no regular file; left alone."""


def look_at(path: Path) -> Delivery | None:
    """Return a regular file as it is now; None if it is something else. Raises FileNotFoundError."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return None
    return Delivery(path, status.st_size, status.st_mtime_ns, status.st_ino)


def look(folder: Path, config: IncomingConfig, clock: Callable[[], float] = time.time) -> Contents:
    """Look into the folder.

    Parameters
    ----------
    folder : Path
        It need not exist yet.
    config : IncomingConfig
    clock : callable
        Seconds since 1970, as the file system counts them.

    Raises
    ------
    ConfigurationError
        If it is no folder or may not be read.
    """
    complete, unsettled, foreign = [], [], []
    for path in _names(folder):
        try:
            delivery = look_at(path)
        except FileNotFoundError:
            continue  # renamed or taken away while we looked
        if delivery is None:
            foreign.append((os.fsencode(path.name).decode("utf-8", "backslashreplace"), _kind(path)))
        elif _is_complete(delivery, clock() - delivery.modified_ns / 1e9, config):
            complete.append(delivery)
        else:
            unsettled.append(delivery)
    return Contents(tuple(sorted(complete, key=_age)), tuple(sorted(unsettled, key=_age)), tuple(foreign))


def require_files(folder: Path) -> None:
    """Raise unless something lies in the folder, whatever it is; asking imports little.

    Raises
    ------
    NothingToDoError
        If there is nothing that an ingest would look at.
    ConfigurationError
        If it is no folder or may not be read.
    """
    if not _names(folder):
        raise NothingToDoError("nothing complete to ingest", subject=str(folder))


def settled(
    deliveries: tuple[Delivery, ...],
    config: IncomingConfig,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Delivery, ...]:
    """Watch files for `settle_s`; return those that did not change meanwhile.

    It also settles files whose time of change lies in the future (a copied time, a wrong clock).
    """
    if not deliveries:
        return ()
    sleep(config.settle_s)
    return tuple(file for file in deliveries if file.is_unchanged() and not has_writer(file.path))


def _is_complete(delivery: Delivery, age_s: float, config: IncomingConfig) -> bool:
    if age_s < config.settle_s:
        return False
    return age_s >= config.writer_patience_s or not has_writer(delivery.path)


def has_writer(path: Path) -> bool:
    """Say whether any process holds a file open for writing, as far as the system tells.

    It tells about files of this user on this machine's disks; of others, only time can.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # gone or unreadable: whoever reads it will see
    try:
        # A read lease is granted only where there is no writer. Should one come while we hold it, the system
        # sends a signal: one that is ignored by default, instead of SIGIO, which kills.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False


@contextmanager
def sole_ingest(folder: Path) -> Iterator[None]:
    """Hold the folder for one ingest; the lock dies with the process.

    Raises
    ------
    AnotherIngestError
        If another process holds it.
    ConfigurationError
        If it is no folder or may not be written to: what was taken in could not be taken out.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise _no_incoming(folder, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AnotherIngestError(
                "another ingest is running",
                subject=str(folder),
                remedy="let it finish; it takes the same files",
            ) from error
        yield
    finally:
        os.close(descriptor)


def _names(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if not _is_temporary(entry.name)]
    except FileNotFoundError:
        return []
    except (NotADirectoryError, PermissionError) as error:
        raise _no_incoming(folder, error) from error


def _no_incoming(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"cannot be used as the incoming folder: {error.strerror}",
        subject=str(folder),
        remedy="point ZSDS_INCOMING at a folder this user may read and write",
    )


def _is_temporary(name: str) -> bool:
    return name.startswith(".") or name.endswith(TEMPORARY_ENDINGS)


def _kind(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return "gone"
    return KINDS.get(stat.S_IFMT(mode), "device")


def _age(delivery: Delivery) -> tuple[str, str]:
    try:
        return str(RawFileName.parse(delivery.name).epoch), delivery.name
    except UnusableInputError:
        return "~", delivery.name  # sorts after every digit
