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
        its epochs. Of an alert whose candidate a later pass has replaced, the image as it is now.

    Raises
    ------
    UnusableInputError
        If there is no such candidate.
    """
    alert = _one(lakehouse, "alerts", {"candid": candid})
    candidate = _one(lakehouse, "candidates", {"candid": candid})
    if candidate is None and alert is not None:
        return [_of_alert(alert), *_of_image(lakehouse, alert["pid"])]
    if candidate is None:
        raise UnusableInputError(
            "no such candidate", subject=str(candid), remedy="look at `zsds table show alerts`"
        )
    models = f"rb {candidate['rbversion'] or 'none'}, drb {candidate['drbversion'] or 'none'}"
    found = Step("candidate", str(candid), candidate["processing_version"], models)
    before = [_of_alert(alert)] if alert else []
    return [*before, found, *_of_image(lakehouse, candidate["pid"])]


def _of_alert(alert: Row) -> Step:
    detail = f"{alert['objectid']} on {alert['topic']}, packet {alert['sha256'][:12]}"
    return Step("alert", str(alert["candid"]), alert["processing_version"], detail)


def _of_image(lakehouse: Lakehouse, pid: int) -> list[Step]:
    """Return difference, science image, masters, raw file, reference and epochs of a product."""
    steps = []
    difference = _one(lakehouse, "difference_images", {"pid": pid})
    if difference:
        detail = f"{difference['engine']}, pass {difference['pass_number']}, {difference['path']}"
        steps.append(Step("difference", str(pid), difference["processing_version"], detail))
    if image := _one(lakehouse, "science_images", {"pid": pid}):
        steps.append(Step("science image", str(pid), image["processing_version"], str(image["path"])))
        steps += [Step("master", *_named(master)) for master in image["masters"]]
        steps.append(_raw(lakehouse, image))
    if difference:
        key = {"rfid": difference["rfid"], "version": difference["rfversion"]}
        steps += _of_reference(lakehouse, key)
    return steps


def _of_reference(lakehouse: Lakehouse, key: Row) -> list[Step]:
    reference = _one(lakehouse, "references", key)
    if reference is None:
        return []
    name = f"{reference['rfid']} v{reference['version']}"
    detail = f"{reference['nframes']} epochs, {reference['path']}"
    epochs = zip(reference["epochs"], reference["inputs"], strict=True)
    return [
        Step("reference", name, reference["processing_version"], detail),
        *(Step("epoch", str(pid), digest[:12], "") for pid, digest in epochs),
    ]


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
