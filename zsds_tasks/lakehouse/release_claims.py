"""Who makes which release: a number is claimed before anything is written below it.

Of several makers each gets its own number. What a killed one leaves is a folder without ``release.json``: no
release. Its number is not used again until upkeep has cleared the folder, so that no two makers share one.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from zsds_tasks.lakehouse import paths
from zsds_tasks.lakehouse.releases import CLAIM_FILE, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zsds_tasks.lakehouse.storage import Storage


def claim_number(storage: Storage, publications: Mapping[str, int], now: datetime) -> int:
    """Take the next number, and keep publications from expiring while the release is made.

    Parameters
    ----------
    storage : Storage
    publications : mapping of str to int
        Table to publication.
    now : datetime

    Returns
    -------
    int
        Nobody else's.
    """
    claim = json.dumps({"begun": now.isoformat(), "publications": dict(publications)}).encode()
    number = max([*numbers(storage), *numbers(storage, unfinished=True)], default=0) + 1
    while True:
        try:
            storage.put_bytes_atomically(claim, paths.release_file(number, CLAIM_FILE), exclusive=True)
        except FileExistsError:
            number += 1
        else:
            return number


def sweep_unfinished_releases(storage: Storage, *, older_than_hours: float, now: datetime) -> list[int]:
    """Delete releases that were begun long ago and never finished.

    Returns
    -------
    list of int
        Their numbers.
    """
    gone = []
    for number in numbers(storage, unfinished=True):
        try:
            begun = datetime.fromisoformat(
                json.loads(storage.read_bytes(paths.release_file(number, CLAIM_FILE)))["begun"]
            )
        except FileNotFoundError:
            begun = datetime.min.replace(tzinfo=UTC)  # the rest of a deletion
        if (now - begun).total_seconds() >= older_than_hours * 3600.0:
            storage.delete_tree(paths.release(number))
            gone.append(number)
    return gone
