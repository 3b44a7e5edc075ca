"""Files of a product as a row names them: read, and held against their checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse


def read_stored(lakehouse: Lakehouse, row: Mapping[str, Any], suffix: str, *, remedy: str) -> bytes:
    """Return the bytes of one file of a product.

    Parameters
    ----------
    lakehouse : Lakehouse
    row : mapping
        With ``path``, the place of one of the files, and ``products``, the suffixes that were written, each
        behind its SHA-256 and a blank.
    suffix : str
        Of the file that is wanted.
    remedy : str
        What errors advise.

    Raises
    ------
    UnusableInputError
        If it was not written, is gone, or is not the one that the row names.
    """
    digests = {name: digest for digest, name in (product.split() for product in row["products"] or ())}
    own = next((name for name in digests if str(row["path"]).endswith(name)), None)
    if own is None or suffix not in digests:
        subject = str(row["path"] or f"product of {row.get('pid', row.get('rfid'))}")
        raise UnusableInputError(f"was written without {suffix}", subject=subject, remedy=remedy)
    path = f"{row['path'].removesuffix(own)}{suffix}"
    try:
        data = lakehouse.storage.read_bytes(path)
    except FileNotFoundError as error:
        raise UnusableInputError("is gone", subject=path, remedy=remedy) from error
    if hashlib.sha256(data).hexdigest() != digests[suffix]:
        raise UnusableInputError("has changed since it was written", subject=path, remedy=remedy)
    return data
