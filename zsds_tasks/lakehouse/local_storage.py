"""A folder as `Storage`: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from uuid import uuid4

import pyarrow.fs as pafs

from zsds_tasks.lakehouse.storage import TEMPORARY_SUFFIX, Entry, Storage, relative_path, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOCKS = ".locks"
_LOCK_POLL_S = 0.005
_NO_HARD_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP}


class LocalStorage(Storage):
    """Files in a folder of this machine.

    Parameters
    ----------
    root : str
        The folder; made when something is first stored.
    """

    def __init__(self, root: str) -> None:
        super().__init__(str(Path(root).absolute()))
        self._folder = Path(self.root)

    def local_path_or_none(self, relative: str) -> Path:
        """Return the file's place."""
        return self._folder / relative_path(relative)

    def put_file_atomically(self, local_path: Path, relative: str, *, link: bool = False) -> None:
        """Copy or link a file into place; see `Storage`."""

        def fill(temporary: Path) -> None:
            if not (link and _linked(local_path, temporary)):
                shutil.copyfile(local_path, temporary)

        self._put(relative, fill)

    def put_bytes_atomically(
        self, data: bytes | memoryview, relative: str, *, exclusive: bool = False
    ) -> None:
        """Write bytes into place; see `Storage`."""

        def fill(temporary: Path) -> None:
            with temporary.open("xb") as stream:
                stream.write(data)

        self._put(relative, fill, exclusive=exclusive)

    def _put(self, relative: str, fill: Callable[[Path], None], *, exclusive: bool = False) -> None:
        target = self.local_path_or_none(relative)
        temporary = target.with_name(f".{target.name}.{uuid4().hex}{TEMPORARY_SUFFIX}")
        with translated(str(target)):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                fill(temporary)
                _flush(temporary)
                if exclusive:
                    # A link, unlike a rename, refuses a name that is taken.
                    os.link(temporary, target)
                else:
                    temporary.replace(target)
                _flush(target.parent)
            finally:
                # Also after success: renaming one link of a file onto another leaves both.
                temporary.unlink(missing_ok=True)

    def open_read(self, relative: str) -> BinaryIO:
        """Open a file for reading."""
        path = self.local_path_or_none(relative)
        with translated(str(path)):
            return path.open("rb")

    def exists(self, relative: str) -> bool:
        """Say whether there is such a file."""
        return self.local_path_or_none(relative).is_file()

    def size(self, relative: str) -> int:
        """Return a file's length in bytes."""
        return self.local_path_or_none(relative).stat().st_size

    def children(self, prefix: str = "") -> list[str]:
        """Return the names directly inside a folder."""
        top = self.local_path_or_none(prefix)
        return sorted(path.name for path in top.iterdir()) if top.is_dir() else []

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every file below a folder."""
        top = self.local_path_or_none(prefix)
        for folder, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue  # a neighbour finished or removed it while we walked
                yield Entry(path.relative_to(self._folder).as_posix(), status.st_size, status.st_mtime)

    def copy_or_link(self, source: str, destination: str) -> None:
        """Hard-link, or copy where links cannot be."""
        self.put_file_atomically(self.local_path_or_none(source), destination, link=True)

    def delete(self, relative: str) -> None:
        """Remove a file."""
        path = self.local_path_or_none(relative)
        with translated(str(path)):
            path.unlink(missing_ok=True)

    def delete_tree(self, prefix: str) -> None:
        """Remove a folder."""
        path = self.local_path_or_none(prefix)
        with translated(str(path)):
            try:
                shutil.rmtree(path)
            except FileNotFoundError:
                if path.exists():
                    raise

    @contextmanager
    def turn(self, name: str, patience_s: float) -> Iterator[None]:
        """Queue by a lock on a small file, which the system frees when its holder dies."""
        path = self.local_path_or_none(f"{_LOCKS}/{name}")
        with translated(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open("ab")
        deadline = time.monotonic() + patience_s
        with stream:
            # Not the blocking call: a holder that was suspended must not hold up everyone for ever.
            while not _locked(stream) and time.monotonic() < deadline:
                time.sleep(_LOCK_POLL_S)
            yield

    def make_durable(self, relative: str) -> None:
        """Flush a file and its name."""
        path = self.local_path_or_none(relative)
        with translated(str(path)):
            _flush(path)
            _flush(path.parent)

    def arrow(self) -> tuple[pafs.FileSystem, str]:
        """Return pyarrow's local file system and the folder."""
        return pafs.LocalFileSystem(), self.root.rstrip("/") + "/"


def _locked(stream: BinaryIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _linked(source: Path, destination: Path) -> bool:
    try:
        os.link(source, destination)
    except OSError as error:
        if error.errno in _NO_HARD_LINKS:
            return False
        raise
    return True


def _flush(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
