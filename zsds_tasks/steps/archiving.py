"""Bring a batch to its places: files first, then rows, in an order that a kill at any moment cannot spoil.

    files into raw/ and quarantine/  ->  raw_quadrants  ->  raw_exposures  ->  quarantine  ->  out of incoming

Until the last step every file still lies in the incoming folder, so that a re-run finds it and completes what
is missing; every step done twice changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.science.raw import RawFrame, RawRules, Refusal, exposure_row, quadrant_rows
from zsds_tasks.science.raw.rows import ArchivedFile
from zsds_tasks.steps.decisions import Accepted, Decisions
from zsds_tasks.steps.incoming import Delivery
from zsds_tasks.steps.inspection import Inspection, examine
from zsds_tasks.steps.placing import place
from zsds_tasks.steps.quarantine import put_away, quarantine_row

WRITERS = 8  # placing a file is waiting for the disk or the network
READ_ONLY = 0o444

Progress = Callable[[str, int, int], None]
"""Called with what was done, how many of them, and how many there are."""


@dataclass(frozen=True)
class Archive:
    """Where a batch goes.

    Parameters
    ----------
    lakehouse : Lakehouse
    rules : RawRules
    progress : callable
        Told of every step; see `Progress`.
    """

    lakehouse: Lakehouse
    rules: RawRules
    progress: Progress

    def orphan_of(self, frame: RawFrame, sha256: str) -> Accepted | None:
        """Return the good frame with other bytes that lies at this frame's path; it has come first."""
        storage, path = self.lakehouse.storage, frame.name.path
        if not storage.exists(path):
            return None
        data = storage.read_bytes(path)
        digest = hashlib.sha256(data).hexdigest()
        if digest == sha256:
            return None
        found = examine(data, str(frame.name), self.rules)
        return Accepted(found, digest, len(data), None) if isinstance(found, RawFrame) else None

    def take_in(self, decisions: Decisions) -> set[int]:
        """Carry out decisions; return the exposures concerned.

        Raises
        ------
        TransientError
            If the storage fails; nothing is lost and the next run goes on from here.
        """
        refused = self._place_files(decisions)
        accepted = sorted(decisions.accepted, key=_place)
        rows = [row for found in accepted for row in self._quadrants(found)]
        if rows:
            self.lakehouse.table("raw_quadrants").merge(rows)
        self.progress("quadrants registered", len(rows), len(rows))
        touched = self._register_exposures([*accepted, *decisions.duplicates])
        self.progress("exposures registered", len(touched), len(touched))
        if refused:
            self.lakehouse.table("quarantine").merge(refused)
        self.progress("refusals registered", len(refused), len(refused))
        self._empty_incoming(decisions)
        return touched

    def _place_files(self, decisions: Decisions) -> list[dict[str, Any]]:
        """Put every file into the archive or into quarantine; return the rows of the refused."""
        frames = [*decisions.accepted, *decisions.duplicates]
        refusals = [
            (inspection, refusal, quarantine_row(inspection.delivery, inspection.sha256, refusal, self.rules))
            for inspection, refusal in decisions.refused
        ]
        total = len(frames) + len(refusals)
        with ThreadPoolExecutor(WRITERS) as pool:
            tasks = [pool.submit(self._place_frame, found) for found in frames]
            tasks += [pool.submit(self._place_refused, *refused) for refused in refusals]
            for number, task in enumerate(tasks, start=1):
                task.result()
                self.progress("files placed", number, total)
        return [row for _, _, row in refusals]

    def _place_frame(self, found: Accepted) -> None:
        storage, path = self.lakehouse.storage, found.frame.name.path
        if found.delivery is None:
            return
        if storage.exists(path) and hashlib.sha256(storage.read_bytes(path)).hexdigest() == found.sha256:
            return
        place(storage, found.delivery, path)
        local = storage.local_path_or_none(path)
        if local is not None:
            with contextlib.suppress(PermissionError):  # another user's file, shared by a hard link
                local.chmod(READ_ONLY)

    def _place_refused(self, inspection: Inspection, refusal: Refusal, row: dict[str, Any]) -> None:
        put_away(self.lakehouse.storage, inspection.delivery, row, refusal)

    def _quadrants(self, found: Accepted) -> list[dict[str, Any]]:
        file = ArchivedFile(found.sha256, found.size, self.rules.now)
        return quadrant_rows(found.frame, file, self.rules.camera, self.rules.survey)

    def _register_exposures(self, frames: Iterable[Accepted]) -> set[int]:
        """Recompute the rows of every exposure these frames belong to, from the rows of its quadrants.

        Duplicates take part: the process that archived them may have died before this step.
        """
        by_exposure: dict[int, Accepted] = {}
        for found in sorted(frames, key=_place):
            by_exposure.setdefault(int(found.frame.exposure), found)
        if not by_exposure:
            return set()
        where = {"expid": sorted(by_exposure)}
        exposures = self.lakehouse.table("raw_exposures")
        rows = {row["expid"]: row for row in exposures.read(where=where).to_pylist()}
        arrivals: dict[int, dict[int, Any]] = {}
        columns = ["expid", "ccdid", "received_at"]
        for row in self.lakehouse.table("raw_quadrants").read(columns, where).to_pylist():
            arrivals.setdefault(row["expid"], {})[row["ccdid"]] = row["received_at"]
        for expid, found in by_exposure.items():
            row = rows.setdefault(expid, exposure_row(found.frame, self.rules.camera, self.rules.survey))
            received = arrivals[expid]
            row["n_ccds"] = len(received)
            row["first_received"], row["last_received"] = min(received.values()), max(received.values())
        exposures.merge([rows[expid] for expid in sorted(rows)])
        return set(by_exposure)

    def _empty_incoming(self, decisions: Decisions) -> None:
        deliveries = decisions.done_with
        for number, delivery in enumerate(deliveries, start=1):
            _remove(delivery)
            self.progress("taken from incoming", number, len(deliveries))


def _remove(delivery: Delivery) -> None:
    """Remove the name, unless it has come to mean another file since."""
    if delivery.is_unchanged():
        delivery.path.unlink(missing_ok=True)


def _place(found: Accepted) -> tuple[int, int]:
    return int(found.frame.exposure), found.frame.name.ccdid
