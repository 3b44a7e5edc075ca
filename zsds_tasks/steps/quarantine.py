"""Put a refused file away with its reason beside it, and make its row."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import paths
from zsds_tasks.lakehouse.storage import Storage
from zsds_tasks.science.raw import RawRules, Refusal
from zsds_tasks.steps.incoming import Delivery
from zsds_tasks.steps.placing import place
from zsds_tasks.survey.filenames import RawFileName
from zsds_tasks.survey.nights import ObservingNight

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
MAX_NAME = 120  # of a stored file: names may be 255 bytes long, and ours adds to them


def quarantine_row(delivery: Delivery, sha256: str, refusal: Refusal, rules: RawRules) -> dict[str, Any]:
    """Return the row of a refused file; its path is unique to its bytes and name."""
    night = _night(delivery.name, rules)
    stored = f"{night}/{sha256[:12]}_{_UNSAFE.sub('_', delivery.name)[-MAX_NAME:]}"
    return {
        "filename": delivery.name,
        "sha256": sha256,
        "file_size": delivery.size,
        "night": night,
        "code": refusal.code.value,
        "reason": refusal.reason,
        "remedy": refusal.remedy,
        "facts": json.dumps(dict(refusal.facts), sort_keys=True, default=str),
        "path": paths.quarantine(stored),
        "refused_at": rules.now,
    }


def put_away(storage: Storage, delivery: Delivery, row: dict[str, Any], refusal: Refusal) -> None:
    """Store the file and its reason in the quarantine folder; doing it again changes nothing."""
    place(storage, delivery, row["path"])
    told = {name: value for name, value in row.items() if name != "path"}
    told["facts"] = dict(refusal.facts)
    told["defects"] = [{"code": defect.code.value, "reason": defect.reason} for defect in refusal.defects]
    text = json.dumps(told, indent=2, ensure_ascii=False, default=_plain)
    name = row["path"].removeprefix(f"{paths.QUARANTINE}/")
    storage.put_bytes_atomically(text.encode(), paths.quarantine_reason(name))


def _night(name: str, rules: RawRules) -> str:
    instant = rules.now
    try:
        named = RawFileName.parse(name).epoch.start
    except UnusableInputError:
        pass
    else:
        # A year such as 0001 or 9999 is a broken name, and no folder should be called after it.
        if rules.survey.night_zero.year <= named.year <= rules.now.year + 1:
            instant = named
    return str(ObservingNight.containing(instant, rules.camera.site.noon_utc_hour))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)
