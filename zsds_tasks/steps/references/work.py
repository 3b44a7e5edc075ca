"""Which references are to be built: epochs that make one are there, and none or a clearly poorer one is."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.science.reference.selection import (
    Candidate,
    Selection,
    select_epochs,
    strength_of,
    why_better,
)
from zsds_tasks.settings import Settings
from zsds_tasks.steps.exposure.work import IMAGES, catalog_identities
from zsds_tasks.steps.references.configuration import STAGE, ReferencesConfig
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.identifiers import ReferenceId

REFERENCES, QUALITY = "references", "image_quality"
BEST, LOCKED = 1, 2
FROM_IMAGES = (
    *("pid", "expid", "rcid", "ccdid", "qid", "field", "fid", "filtercode", "night", "obsjd", "exptime"),
    *("status", "infobits", "seeing", "magzp", "maglimit", "saturate", "airmass", "path", "products"),
    "processing_version",
    "ra",
    "dec",
)
FROM_QUALITY = ("expid", "rcid", "sky", "rms_east", "rms_north", "zp30")
Row = dict[str, Any]
Key = tuple[int, int, int]


@dataclass(frozen=True)
class ReferenceWork:
    """One reference to build.

    Parameters
    ----------
    rfid : ReferenceId
    version : int
    epochs : tuple of dict
        Rows of science_images, in order of time.
    refused : dict of int to str
        Reasons by pid.
    why : str
        What makes it worth building.
    processing_version : str
    """

    rfid: ReferenceId
    version: int
    epochs: tuple[Row, ...]
    refused: dict[int, str]
    why: str
    processing_version: str


@dataclass(frozen=True)
class Waiting:
    """A reference that cannot be built yet, and why."""

    rfid: ReferenceId
    reason: str


def reference_work(
    lakehouse: Lakehouse,
    settings: Settings,
    config: ReferencesConfig,
    *,
    fields: Sequence[int] | None = None,
    fids: Sequence[int] | None = None,
    rcids: Sequence[int] | None = None,
) -> tuple[list[ReferenceWork], list[Waiting]]:
    """Return the references that are to be built, and those for which epochs are missing.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    config : ReferencesConfig
        As it holds for the camera.
    fields, fids, rcids : sequence of int, optional
        Only these.

    Returns
    -------
    work : list of ReferenceWork
        In order of rfid. A build that failed is not tried again with the same epochs.
    waiting : list of Waiting
    """
    where = {
        name: list(chosen)
        for name, chosen in (("field", fields), ("fid", fids), ("rcid", rcids))
        if chosen is not None
    }
    groups = _groups(lakehouse, where)
    built = _built(lakehouse, where)
    fixed: list[str] = []
    work, waiting = [], []
    for key in sorted(groups):
        rfid, epochs, versions = ReferenceId(*key), groups[key], built.get(key, [])
        candidates = [_candidate(row) for row in epochs.values()]
        chosen = select_epochs(candidates, config.selection)
        present = next((row for row in versions if row["vbest"] > 0), None)
        if not chosen.is_enough:
            waiting += [] if present else [Waiting(rfid, chosen.shortfall)]
            continue
        # Only now: a new installation has no catalogues yet, nor anything to build.
        fixed = fixed or [
            load_camera(settings.camera, settings.include).model_dump_json(),
            *catalog_identities(settings),
        ]
        why = _why(candidates, chosen, present, config)
        rows = sorted((epochs[pid] for pid in chosen.chosen), key=lambda row: (row["obsjd"], row["pid"]))
        version = processing_version(STAGE, config, [*fixed, *map(_identity, rows)])
        if why and version not in {row["processing_version"] for row in versions}:
            number = 1 + max((row["version"] for row in versions), default=0)
            work.append(ReferenceWork(rfid, number, tuple(rows), chosen.refused, why, version))
    return work, waiting


def _groups(lakehouse: Lakehouse, where: Row) -> dict[Key, dict[int, Row]]:
    """Return the epochs of each (field, fid, rcid) by pid, with what their quality rows say."""
    quality = {
        (row["expid"], row["rcid"]): row
        for row in lakehouse.table(QUALITY).read(FROM_QUALITY, _only(where, ("fid", "rcid"))).to_pylist()
    }
    groups: dict[Key, dict[int, Row]] = defaultdict(dict)
    for row in lakehouse.table(IMAGES).read(FROM_IMAGES, where).to_pylist():
        measured = quality.get((row["expid"], row["rcid"]))
        if row["field"] > 0 and row["path"] and measured:
            groups[row["field"], row["fid"], row["rcid"]][row["pid"]] = row | measured
    return groups


def _built(lakehouse: Lakehouse, where: Row) -> dict[Key, list[Row]]:
    columns = ("field", "fid", "rcid", "version", "vbest", "epochs", "processing_version")
    found: dict[Key, list[Row]] = defaultdict(list)
    for row in lakehouse.table(REFERENCES).read(columns, where).to_pylist():
        found[row["field"], row["fid"], row["rcid"]].append(row)
    return found


def _only(where: Row, names: Sequence[str]) -> Row:
    return {name: value for name, value in where.items() if name in names}


def _candidate(row: Row) -> Candidate:
    def known(name: str) -> float:
        return math.nan if row[name] is None else float(row[name])

    return Candidate(
        pid=row["pid"],
        night=row["night"],
        status=row["status"],
        infobits=row["infobits"],
        fwhm_arcsec=known("seeing"),
        maglimit=known("maglimit"),
        zero_point=known("zp30"),
        background=known("sky") / max(row["exptime"], 1e-3),
        airmass=known("airmass"),
        astrometric_rms_arcsec=max(known("rms_east"), known("rms_north")),
    )


def _why(
    candidates: Sequence[Candidate], chosen: Selection, present: Row | None, config: ReferencesConfig
) -> str:
    """Return why a reference is worth building; empty if the present one does."""
    if present is None:
        return "the first"
    if present["vbest"] == LOCKED:
        return ""
    of_present = [c for c in candidates if c.pid in set(present["epochs"])]
    if len(of_present) < len(present["epochs"]):
        return "an epoch of the present one is no longer there"
    return why_better(strength_of(of_present), chosen.strength, config.replacement)


def _identity(row: Row) -> str:
    return f"{row['pid']} {row['processing_version']} {image_digest(row)}"


def image_digest(row: Row) -> str:
    """Return the SHA-256 of the science image of a row of science_images."""
    return next(_digests(row))


def _digests(row: Row) -> Iterator[str]:
    for product in row["products"]:
        digest, _, suffix = product.partition(" ")
        if suffix.startswith("sciimg.fits"):
            yield digest
