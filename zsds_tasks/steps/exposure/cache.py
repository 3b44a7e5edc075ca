"""Arrays that are dear to make and the same for everyone: kept as plain files, mapped into memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import TransientError


def store_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array; it appears whole or not at all, and whoever writes last has written the same.

    Raises
    ------
    TransientError
        If the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TransientError(
            f"cannot keep a decoded array: {error.strerror}",
            subject=str(path.parent),
            remedy="free space on its disk, or delete the folder: it is made anew",
        ) from error
