"""Store a delivered file, and be sure that it is the one that was inspected."""

from __future__ import annotations

from zsds_tasks.errors import TransientError
from zsds_tasks.lakehouse.storage import Storage
from zsds_tasks.steps.incoming import Delivery


def place(storage: Storage, delivery: Delivery, path: str) -> None:
    """Bring a delivered file to its place under the root.

    Parameters
    ----------
    storage : Storage
    delivery : Delivery
        As it was inspected.
    path : str
        Relative to the root.

    Raises
    ------
    TransientError
        If the name means another file by now, or the file was written to: what is known of it is no longer
        true. Nothing of it stays under the root.
    """
    try:
        storage.put_file_atomically(delivery.path, path, link=True)
    except FileNotFoundError as error:
        raise _changed(delivery) from error
    # After the copy, not before: whatever happened until now is seen.
    if not delivery.is_unchanged():
        storage.delete(path)
        raise _changed(delivery)


def _changed(delivery: Delivery) -> TransientError:
    return TransientError(
        "was replaced, changed or taken away while it was ingested",
        subject=str(delivery.path),
        remedy="deliver under a hidden or .part name and rename when complete; the work is retried",
    )
