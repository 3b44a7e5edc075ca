"""An S3 bucket as `Storage`: a put is one request, so it is atomic; links are copies made by the server."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

from zsds_tasks.lakehouse.storage import Entry, Storage, relative_path, translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow.fs as pafs

    from zsds_tasks.settings import Settings

_SINGLE_PUT = 5 * 1024**3
"""The largest object one request may carry, bytes: S3's own limit."""


class ObjectStorage(Storage):
    """Objects under a prefix of a bucket.

    Parameters
    ----------
    root : str
        ``s3://bucket/prefix``.
    settings : Settings
        Endpoint, region and keys.
    """

    def __init__(self, root: str, settings: Settings) -> None:
        super().__init__(root)
        self._settings = settings

    @cached_property
    def _files(self) -> Any:
        import s3fs  # noqa: PLC0415 - 1 s that only installations on S3 pay

        settings = self._settings
        return s3fs.S3FileSystem(
            key=settings.s3_key.get_secret_value() or None,
            secret=settings.s3_secret.get_secret_value() or None,
            client_kwargs={"region_name": settings.s3_region},
            endpoint_url=settings.s3_endpoint or None,
            use_listings_cache=False,  # another process may write at any time
            default_fill_cache=False,
        )

    @property
    def delta_options(self) -> dict[str, str]:
        """The same connection in the words of deltalake."""
        settings = self._settings
        options = {
            "AWS_REGION": settings.s3_region,
            "AWS_ENDPOINT_URL": settings.s3_endpoint,
            "AWS_ACCESS_KEY_ID": settings.s3_key.get_secret_value(),
            "AWS_SECRET_ACCESS_KEY": settings.s3_secret.get_secret_value(),
            "AWS_ALLOW_HTTP": "true" if settings.s3_endpoint.startswith("http://") else "",
            # A commit claims its number by a put that fails if the object exists: no lock service needed.
            "AWS_CONDITIONAL_PUT": "etag",
        }
        return {name: value for name, value in options.items() if value}

    def local_path_or_none(self, relative: str) -> None:
        """Return None: nothing here is on a local disk."""
        relative_path(relative)

    def put_file_atomically(self, local_path: Path, relative: str, *, link: bool = False) -> None:
        """Upload a file; `link` cannot be and is ignored."""
        del link
        with translated(self.uri(relative)):
            # Objects appear when the upload ends, in one part or many.
            self._files.put_file(str(local_path), self.uri(relative))

    def put_bytes_atomically(
        self, data: bytes | memoryview, relative: str, *, exclusive: bool = False
    ) -> None:
        """Upload bytes in one request, conditional if `exclusive`."""
        with translated(self.uri(relative)):
            self._files.pipe_file(
                self.uri(relative),
                bytes(data),
                mode="create" if exclusive else "overwrite",
                chunksize=_SINGLE_PUT if exclusive else 64 * 1024**2,
            )

    def open_read(self, relative: str) -> BinaryIO:
        """Open an object for reading."""
        with translated(self.uri(relative)):
            stream: BinaryIO = self._files.open(self.uri(relative), "rb")
            return stream

    def read_bytes(self, relative: str) -> bytes:
        """Return an object's content in one request."""
        with translated(self.uri(relative)):
            content: bytes = self._files.cat_file(self.uri(relative))
            return content

    def exists(self, relative: str) -> bool:
        """Say whether there is such an object."""
        with translated(self.uri(relative)):
            return bool(self._files.isfile(self.uri(relative)))

    def size(self, relative: str) -> int:
        """Return an object's length in bytes."""
        with translated(self.uri(relative)):
            return int(self._files.info(self.uri(relative))["size"])

    def children(self, prefix: str = "") -> list[str]:
        """Return the names directly inside a prefix."""
        with translated(self.uri(prefix)):
            try:
                found = self._files.ls(self.uri(prefix), detail=False)
            except FileNotFoundError:
                return []
        return sorted({key.rstrip("/").rpartition("/")[2] for key in found})

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every object below a prefix."""
        top = self.root.removeprefix("s3://") + "/"
        with translated(self.uri(prefix)):
            found = self._files.find(self.uri(prefix), detail=True)
        for key in sorted(found):
            details = found[key]
            yield Entry(key.removeprefix(top), int(details["size"]), details["LastModified"].timestamp())

    def copy_or_link(self, source: str, destination: str) -> None:
        """Let the server copy an object."""
        with translated(self.uri(destination)):
            self._files.cp_file(self.uri(source), self.uri(destination))

    def delete(self, relative: str) -> None:
        """Remove an object."""
        with translated(self.uri(relative)):
            try:
                self._files.rm_file(self.uri(relative))
            except FileNotFoundError:
                return

    def delete_tree(self, prefix: str) -> None:
        """Remove all objects below a prefix."""
        with translated(self.uri(prefix)):
            try:
                self._files.rm(self.uri(prefix), recursive=True)
            except FileNotFoundError:
                return

    @cached_property
    def _arrow(self) -> pafs.FileSystem:
        import pyarrow.fs as pafs  # noqa: PLC0415 - loads the AWS library, which only S3 needs

        # pyarrow's own client for its own readers: wrapping s3fs costs two more requests for every file.
        settings = self._settings
        return pafs.S3FileSystem(
            access_key=settings.s3_key.get_secret_value() or None,
            secret_key=settings.s3_secret.get_secret_value() or None,
            region=settings.s3_region,
            endpoint_override=settings.s3_endpoint or None,
        )

    def arrow(self) -> tuple[pafs.FileSystem, str]:
        """Return the bucket as a pyarrow file system, and the prefix."""
        return self._arrow, self.root.removeprefix("s3://") + "/"
