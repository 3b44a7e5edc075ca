"""Wake the ingest when raw files arrive, without holding a worker.

The event is a hint and no more: losing or doubling one changes nothing, because ingest looks at the folder
itself and also runs every minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

POLL_SECONDS = 2.0
QUIET_SECONDS = 10.0  # at most one event in this time: a batch shares one run


class RawFilesArrived(BaseEventTrigger):
    """Fires when the incoming folder holds a file that was not there at the last event.

    Parameters
    ----------
    folder : str
        The incoming folder.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and arguments that rebuild this trigger."""
        return "zsds_airflow.arrivals.RawFilesArrived", {"folder": self.folder}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the folder and yield one event per batch of new names."""
        seen: frozenset[str] = frozenset()
        while True:
            names = await asyncio.to_thread(visible_names, Path(self.folder))
            fresh = names - seen
            seen = names
            if fresh:
                yield TriggerEvent({"new_files": len(fresh)})
                await asyncio.sleep(QUIET_SECONDS)
            else:
                await asyncio.sleep(POLL_SECONDS)


def visible_names(folder: Path) -> frozenset[str]:
    """Return the names in a folder that are not hidden; empty if it does not exist yet."""
    try:
        return frozenset(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except FileNotFoundError:
        return frozenset()
