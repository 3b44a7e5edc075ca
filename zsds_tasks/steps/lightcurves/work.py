"""Which units are due: those whose images or reference are not the ones their light curves were made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.steps.exposure.work import IMAGES
from zsds_tasks.steps.lightcurves.configuration import STAGE, LightCurvesConfig
from zsds_tasks.steps.references.work import REFERENCES

UNITS = "matched_units"
Row = dict[str, Any]
Key = tuple[int, int, int]
OF_IMAGES = (
    "pid", "field", "fid", "rcid", "ccdid", "qid", "night", "obsjd", "exptime", "programid", "infobits",
    "clrcoeff", "processing_version",
)  # fmt: skip
OF_REFERENCES = ("field", "fid", "rcid", "rfid", "version", "vbest", "status", "jdstart", "jdend",
    "processing_version")  # fmt: skip


@dataclass(frozen=True)
class UnitWork:
    """One unit (field, filter, channel) to be done.

    Parameters
    ----------
    key : tuple of int
        field, fid, rcid.
    images : tuple of dict
        Rows of science_images, in order of time; none where all have been withdrawn, and the unit goes.
    reference : dict or None
        Row of references.
    state : str
        What the unit will be made of; see matched_units.
    """

    key: Key
    images: tuple[Row, ...]
    reference: Row | None
    state: str

    @property
    def where(self) -> Row:
        """Condition under which rows are of the unit."""
        return dict(zip(("field", "fid", "rcid"), self.key, strict=True))


def unit_work(
    lakehouse: Lakehouse, config: LightCurvesConfig, *, fields: Sequence[int] | None = None
) -> list[UnitWork]:
    """Return the units that are due, in order of field, filter, channel.

    A unit is a function of its reference and the set of its images: in whatever order nights come, the same
    set gives the same rows.

    Parameters
    ----------
    lakehouse : Lakehouse
    config : LightCurvesConfig
    fields : sequence of int, optional
        Only these.
    """
    where: Row = {} if fields is None else {"field": list(fields)}
    images: dict[Key, list[Row]] = defaultdict(list)
    for row in lakehouse.table(IMAGES).read(OF_IMAGES, where | {"status": 1}).to_pylist():
        if row["field"] > 0:
            images[row["field"], row["fid"], row["rcid"]].append(row)
    references = {
        (row["field"], row["fid"], row["rcid"]): row
        for row in lakehouse.table(REFERENCES).read(OF_REFERENCES, where | {"status": 1}).to_pylist()
        if row["vbest"] > 0
    }
    known = lakehouse.table(UNITS).read(["field", "fid", "rcid", "state"], where).to_pylist()
    states = {(row["field"], row["fid"], row["rcid"]): row["state"] for row in known}
    work = []
    for key in sorted({*images, *states}):
        rows = sorted(images.get(key, []), key=lambda row: (row["obsjd"], row["pid"]))
        reference = references.get(key)
        state = processing_version(STAGE, config, _identities(rows, reference))
        if states.get(key) != state:
            work.append(UnitWork(key, tuple(rows), reference, state))
    return work


def _identities(images: Sequence[Row], reference: Row | None) -> list[str]:
    found = [f"image {row['pid']} {row['processing_version']} {row['infobits']}" for row in images]
    if reference is not None:
        found.append(
            f"reference {reference['rfid']} {reference['version']} {reference['processing_version']}"
        )
    return found
