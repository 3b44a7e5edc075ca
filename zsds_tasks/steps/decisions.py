"""What to do with each inspected file, given what the archive already holds: the first delivery stays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.science.raw import DefectCode, RawFrame, RawRules, Refusal, exposure_row
from zsds_tasks.science.raw.rows import SHARED_COLUMNS
from zsds_tasks.steps.incoming import Delivery
from zsds_tasks.steps.inspection import Inspection, LeftAlone
from zsds_tasks.survey.filenames import RawFileName

Place = tuple[int, int]
"""An exposure and a CCD: (expid, ccdid)."""


@dataclass(frozen=True)
class Known:
    """A frame of which the archive has a row, or will have after this batch."""

    filename: str
    sha256: str


@dataclass
class Register:
    """What is archived and refused already, as far as a batch of files is concerned."""

    frames: dict[Place, Known] = field(default_factory=dict)
    exposures: dict[int, dict[str, Any]] = field(default_factory=dict)
    refused: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def read(cls, lakehouse: Lakehouse, inspections: Sequence[Inspection]) -> Register:
        """Read the rows that may concern these files."""
        frames = [i.outcome for i in inspections if isinstance(i.outcome, RawFrame)]
        register = cls()
        if frames:
            register._read_frames(lakehouse, frames)
        refused = sorted({i.sha256 for i in inspections if isinstance(i.outcome, Refusal | RawFrame)})
        if refused:
            rows = lakehouse.table("quarantine").read(["sha256", "filename"], {"sha256": refused}).to_pylist()
            register.refused = {(row["sha256"], row["filename"]) for row in rows}
        return register

    def _read_frames(self, lakehouse: Lakehouse, frames: Sequence[RawFrame]) -> None:
        columns = ["expid", "ccdid", "filename", "sha256"]
        quadrants, expids = lakehouse.table("raw_quadrants"), {int(frame.exposure) for frame in frames}
        # By exposure, and by name: the same name may come back with the header of another exposure. Nights
        # bound the second search, since a name precedes its exposure by two minutes at most.
        nights = {frame.exposure.nid + step for frame in frames for step in (-1, 0, 1)}
        names = {str(frame.name) for frame in frames}
        for where in ({"expid": sorted(expids)}, {"nid": sorted(nights), "filename": sorted(names)}):
            for row in quadrants.read(columns, where).to_pylist():
                self.frames[row["expid"], row["ccdid"]] = Known(row["filename"], row["sha256"])
        columns = ["expid", *SHARED_COLUMNS]
        for row in lakehouse.table("raw_exposures").read(columns, {"expid": sorted(expids)}).to_pylist():
            self.exposures[row["expid"]] = row


@dataclass(frozen=True)
class Accepted:
    """A frame to archive; without a delivery if its bytes lie in the archive already."""

    frame: RawFrame
    sha256: str
    size: int
    delivery: Delivery | None


@dataclass
class Decisions:
    """What becomes of a batch."""

    accepted: list[Accepted] = field(default_factory=list)
    duplicates: list[Accepted] = field(default_factory=list)
    refused: list[tuple[Inspection, Refusal]] = field(default_factory=list)
    repeats: list[Inspection] = field(default_factory=list)
    """Refused before, with the same name and bytes."""
    left: list[tuple[str, str]] = field(default_factory=list)

    @property
    def done_with(self) -> list[Delivery]:
        """Deliveries to take out of the incoming folder once everything is committed."""
        frames = [a.delivery for a in (*self.accepted, *self.duplicates) if a.delivery is not None]
        return [*frames, *(i.delivery for i, _ in self.refused), *(i.delivery for i in self.repeats)]


@dataclass(frozen=True)
class Judge:
    """Decides about files one by one, in the order in which they are to count.

    Parameters
    ----------
    register : Register
        Gains the frames accepted, so that files of one batch are held against each other.
    rules : RawRules
    orphan_of : callable
        Given a frame and its SHA-256, returns the good frame with other bytes that lies in its place in the
        archive without a row (a process died between archiving and commit), or None.
    """

    register: Register
    rules: RawRules
    orphan_of: Callable[[RawFrame, str], Accepted | None]

    def decide(self, inspections: Iterable[Inspection]) -> Decisions:
        """Return what becomes of every file of a batch."""
        decisions = Decisions()
        for inspection in inspections:
            outcome = inspection.outcome
            if isinstance(outcome, LeftAlone):
                decisions.left.append((inspection.delivery.name, outcome.reason))
            elif isinstance(outcome, Refusal):
                self._refuse(inspection, outcome, decisions)
            else:
                self._decide_frame(inspection, outcome, decisions)
        return decisions

    def _decide_frame(self, inspection: Inspection, frame: RawFrame, decisions: Decisions) -> None:
        place = (int(frame.exposure), frame.name.ccdid)
        if place not in self.register.frames:
            orphan = self.orphan_of(frame, inspection.sha256)
            if orphan is not None and self._refusal_of(orphan) is None:
                self._accept(orphan, decisions)
        found = Accepted(frame, inspection.sha256, inspection.delivery.size, inspection.delivery)
        known = self.register.frames.get(place)
        if known is not None and known.sha256 == inspection.sha256:
            # Perhaps under another name that fits as well: what is archived keeps its own.
            archived = dataclasses.replace(frame, name=RawFileName.parse(known.filename))
            decisions.duplicates.append(dataclasses.replace(found, frame=archived))
            return
        refusal = self._refusal_of(found)
        if refusal is not None:
            self._refuse(inspection, refusal, decisions)
        else:
            self._accept(found, decisions)

    def _refusal_of(self, found: Accepted) -> Refusal | None:
        """Say whether a good frame contradicts what is known; None if it may be archived."""
        frame, register = found.frame, self.register
        place = (int(frame.exposure), frame.name.ccdid)
        rivals = [(p, k) for p, k in register.frames.items() if p == place or k.filename == str(frame.name)]
        for (expid, ccdid), known in rivals:
            if known.sha256 != found.sha256:
                return Refusal.of(
                    DefectCode.CONFLICT,
                    f"exposure {expid} CCD {ccdid} is archived as {known.filename} with other bytes",
                    archived_as=known.filename,
                    archived_sha256=known.sha256,
                )
        row = exposure_row(frame, self.rules.camera, self.rules.survey)
        first = register.exposures.get(place[0], row)
        told = [
            f"{self.rules.keyword(name)} {row[name]} instead of {first[name]}"
            for name in SHARED_COLUMNS
            if not _equal(name, row[name], first[name])
        ]
        if told:
            reason = f"differs from the other CCDs of exposure {place[0]}: {', '.join(told)}"
            return Refusal.of(DefectCode.EXPOSURE_MISMATCH, reason)
        return None

    def _accept(self, found: Accepted, decisions: Decisions) -> None:
        expid = int(found.frame.exposure)
        self.register.frames[expid, found.frame.name.ccdid] = Known(str(found.frame.name), found.sha256)
        row = exposure_row(found.frame, self.rules.camera, self.rules.survey)
        self.register.exposures.setdefault(expid, row)
        decisions.accepted.append(found)

    def _refuse(self, inspection: Inspection, refusal: Refusal, decisions: Decisions) -> None:
        key = (inspection.sha256, inspection.delivery.name)
        if key in self.register.refused:
            decisions.repeats.append(inspection)
        else:
            self.register.refused.add(key)
            decisions.refused.append((inspection, refusal))


def _equal(name: str, ours: Any, theirs: Any) -> bool:
    if name == "exptime":
        return math.isclose(ours, theirs, rel_tol=1e-6)  # the table keeps it as float32
    return bool(ours == theirs)
