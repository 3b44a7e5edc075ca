"""The versions of a table, as its log tells them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zsds_tasks.lakehouse import delta

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_history(location: delta.Location) -> list[dict[str, Any]]:
    """Return the versions, newest first: version, time (UTC), operation, and what changed."""
    table = delta.open_delta(location)
    if table is None:
        return []
    with delta.translated_delta(location.uri):
        entries = table.history()
    return [_told(entry) for entry in entries]


def _told(entry: Mapping[str, Any]) -> dict[str, Any]:
    facts = entry.get("zsds", {})
    facts = json.loads(facts) if isinstance(facts, str) else dict(facts)
    return {
        "version": entry["version"],
        "time": datetime.fromtimestamp(entry["timestamp"] / 1000, tz=UTC),
        "operation": entry.get("operation", "").lower(),
        **facts,
    }
