"""Files by relative path, whether the root is a folder or a bucket; every write appears whole or not at all.

`open_storage` gives a `LocalStorage` or an `ObjectStorage`. Both refuse paths that leave the root, and turn
what the world does to files (full disk, lost network) into `TransientError`.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from zsds_tasks.errors import ConfigurationError, TransientError, UnusableInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow.fs as pafs

TEMPORARY_SUFFIX = ".part-tmp"
"""Ends the name of every file being written; `zsds_tasks.lakehouse.maintenance` sweeps stale ones."""

_PASSING = {
    errno.ENOSPC: "free some space, or move ZSDS_ROOT to a larger disk",
    errno.EDQUOT: "raise the quota or free some space",
    errno.EIO: "look at the disk's health; the work is retried",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit of open files",
    errno.ESTALE: "look at the network file system; the work is retried",
}
_GONE = ("NO_SUCH_KEY", "RESOURCE_NOT_FOUND")
"""What pyarrow says of an S3 object that is not there, in an OSError without a number."""
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True)
class Entry:
    """One stored file."""

    path: str
    """Relative to the root."""
    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970, UTC."""


class Storage(ABC):
    """Files under one root.

    Parameters
    ----------
    root : str
        A folder or an ``s3://bucket/prefix`` URI.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/") or "/"

    def uri(self, relative: str) -> str:
        """Return the full address of a path: what other tools open."""
        clean = relative_path(relative)
        return f"{self.root}/{clean}" if clean else self.root

    @property
    def delta_options(self) -> dict[str, str]:
        """What deltalake needs to reach the root."""
        return {}

    @abstractmethod
    def local_path_or_none(self, relative: str) -> Path | None:
        """Return the file's place on this machine's disks, or None when it is not on them."""

    @abstractmethod
    def put_file_atomically(self, local_path: Path, relative: str, *, link: bool = False) -> None:
        """Store a file; readers see the old one, then the new one, nothing between.

        Parameters
        ----------
        local_path : Path
            What to store. It is left where it is.
        relative : str
            Where.
        link : bool
            Share the bytes by a hard link where the file system can; the source must never change after.
        """

    @abstractmethod
    def put_bytes_atomically(
        self, data: bytes | memoryview, relative: str, *, exclusive: bool = False
    ) -> None:
        """Store bytes, as `put_file_atomically`.

        Raises
        ------
        FileExistsError
            If `exclusive` and the path is taken: of several callers, exactly one succeeds.
        """

    @abstractmethod
    def open_read(self, relative: str) -> BinaryIO:
        """Open a file for reading. Raises FileNotFoundError."""

    def read_bytes(self, relative: str) -> bytes:
        """Return a file's content. Raises FileNotFoundError."""
        with translated(self.uri(relative)), self.open_read(relative) as stream:
            return stream.read()

    @abstractmethod
    def exists(self, relative: str) -> bool:
        """Say whether there is such a file."""

    @abstractmethod
    def size(self, relative: str) -> int:
        """Return a file's length in bytes. Raises FileNotFoundError."""

    @abstractmethod
    def children(self, prefix: str = "") -> list[str]:
        """Return the names directly inside a folder, sorted; empty if there is no such folder."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every file below a folder, at any depth, sorted by path; nothing if it does not exist."""

    @abstractmethod
    def copy_or_link(self, source: str, destination: str) -> None:
        """Make a second name for a file that never changes: a hard link, or a copy made by the server."""

    @abstractmethod
    def delete(self, relative: str) -> None:
        """Remove a file; quiet if it is gone already."""

    @abstractmethod
    def delete_tree(self, prefix: str) -> None:
        """Remove a folder and everything in it; quiet if it is gone already."""

    @contextmanager
    def turn(self, name: str, patience_s: float) -> Iterator[None]:
        """Queue for something only one process does at a time, where the storage can arrange that.

        It spares lost races and is no protection: after `patience_s`, and on object stores at once, the
        caller goes on, and must be right all the same.
        """
        del name, patience_s
        yield

    def make_durable(self, relative: str) -> None:
        """Wait until a file that another library wrote would survive a loss of power."""
        del relative

    @abstractmethod
    def arrow(self) -> tuple[pafs.FileSystem, str]:
        """Return a pyarrow file system and what to put before relative paths, with the slash."""


def relative_path(relative: str) -> str:
    """Return the path cleaned of empty parts, or refuse one that would leave the root.

    Raises
    ------
    UnusableInputError
        If it is absolute, climbs by ``..``, or holds a NUL or a backslash.
    """
    parts = [part for part in str(relative).split("/") if part not in {"", "."}]
    climbing = ".." in parts or str(relative).startswith("/")
    if climbing or "\0" in relative or "\\" in relative:
        raise UnusableInputError(
            "this path would leave the root of the archive",
            subject=repr(relative),
            remedy="give a path relative to the root, without '..'",
        )
    return "/".join(parts)


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Turn the world's failures inside the block into our errors, naming `subject`.

    FileNotFoundError, FileExistsError and the like pass: they are answers, not failures.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError):
        raise
    except (ConnectionError, TimeoutError) as error:
        raise TransientError(
            f"the storage does not answer: {error}", subject=subject, remedy="look at the network; retried"
        ) from error
    except OSError as error:
        if any(word in str(error) for word in _GONE):
            raise FileNotFoundError(errno.ENOENT, "no such object", subject) from error
        raise _of_os_error(error, subject) from error
    except Exception as error:
        # botocore's errors are no OSErrors, and importing it to name them costs a second.
        if type(error).__module__.partition(".")[0] in {"botocore", "aiobotocore", "aiohttp"}:
            raise TransientError(
                f"the object store failed: {error}", subject=subject, remedy="look at the network; retried"
            ) from error
        raise


def _of_os_error(error: OSError, subject: str) -> Exception:
    if error.errno in _FORBIDDEN:
        return ConfigurationError(
            f"not allowed: {error.strerror or error}",
            subject=subject,
            remedy="give this user the right to it, or point ZSDS_ROOT elsewhere",
        )
    remedy = _PASSING.get(error.errno or 0, "look at the storage; the work is retried")
    return TransientError(f"storage failed: {error.strerror or error}", subject=subject, remedy=remedy)
