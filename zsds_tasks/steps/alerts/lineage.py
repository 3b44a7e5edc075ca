"""From an alert back to the raw file: every product, version and checksum on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse

Row = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One product on the way back.

    Parameters
    ----------
    what : str
    identifier : str
    version : str
        Processing version, or checksum for what was not processed.
    detail : str
    """

    what: str
    identifier: str
    version: str
    detail: str


def lineage(lakehouse: Lakehouse, candid: int) -> list[Step]:
    """Walk from a candidate to what it was made of.

    Parameters
    ----------
    lakehouse : Lakehouse
    candid : int

    Returns
    -------
    list of Step
        Alert, if there is one, candidate, difference image, science image, masters, raw file, reference and
        its epochs.

    Raises
    ------
    UnusableInputError
        If there is no such candidate.
    """
    candidate = _one(lakehouse, "candidates", {"candid": candid})
    if candidate is None:
        raise UnusableInputError(
            "no such candidate", subject=str(candid), remedy="look at `zsds table show alerts`"
        )
    steps = []
    if alert := _one(lakehouse, "alerts", {"candid": candid}):
        detail = f"{alert['objectid']} on {alert['topic']}, packet {alert['sha256'][:12]}"
        steps.append(Step("alert", str(candid), alert["processing_version"], detail))
    models = f"rb {candidate['rbversion'] or 'none'}, drb {candidate['drbversion'] or 'none'}"
    steps.append(Step("candidate", str(candid), candidate["processing_version"], models))
    pid = {"pid": candidate["pid"]}
    if difference := _one(lakehouse, "difference_images", pid):
        detail = f"{difference['engine']}, {difference['path']}"
        steps.append(Step("difference", str(candidate["pid"]), difference["processing_version"], detail))
    if image := _one(lakehouse, "science_images", pid):
        steps.append(
            Step("science image", str(image["pid"]), image["processing_version"], str(image["path"]))
        )
        steps += [Step("master", *_named(master)) for master in image["masters"]]
        steps.append(_raw(lakehouse, image))
    key = {"rfid": candidate["rfid"], "version": candidate["rfversion"]}
    if reference := _one(lakehouse, "references", key):
        name = f"{reference['rfid']} v{reference['version']}"
        detail = f"{reference['nframes']} epochs, {reference['path']}"
        steps.append(Step("reference", name, reference["processing_version"], detail))
        epochs = zip(reference["epochs"], reference["inputs"], strict=True)
        steps += [Step("epoch", str(pid), digest[:12], "") for pid, digest in epochs]
    return steps


def _raw(lakehouse: Lakehouse, image: Row) -> Step:
    where = {"expid": image["expid"], "rcid": image["rcid"]}
    raw = _one(lakehouse, "raw_quadrants", where)
    path = raw["path"] if raw else "no row"
    return Step("raw file", f"{image['expid']} {image['rcid']}", image["raw_sha256"][:12], path)


def _named(master: str) -> tuple[str, str, str]:
    """Return identifier, checksum and rest of a word of `masters`: kind, night and SHA-256."""
    *words, digest = master.split()
    return " ".join(words), digest[:12], ""


def _one(lakehouse: Lakehouse, table: str, where: Row) -> Row | None:
    rows: list[Row] = lakehouse.table(table).read(where=where).to_pylist()
    return rows[0] if rows else None
