"""Which science images a reference is to be subtracted from: those that may be used and have one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.settings import Settings
from zsds_tasks.steps.difference.configuration import STAGE, DifferencingConfig
from zsds_tasks.steps.exposure.work import IMAGES, catalog_identities
from zsds_tasks.steps.references.work import REFERENCES

DIFFERENCES, CANDIDATES = "difference_images", "candidates"
Row = dict[str, Any]


@dataclass(frozen=True)
class DifferenceWork:
    """One science image and the reference to subtract.

    Parameters
    ----------
    image, reference : dict
        Rows of science_images and references.
    version : str
        Processing version.
    number : int
        Pass over this image: 1, and one more with each new version, so that no candidate of another pass has
        its number.
    """

    image: Row
    reference: Row
    version: str
    number: int


def difference_work(
    lakehouse: Lakehouse,
    settings: Settings,
    config: DifferencingConfig,
    *,
    night: str | None = None,
    expids: Sequence[int] | None = None,
) -> tuple[list[DifferenceWork], int]:
    """Return what is to be done, in order of time, and how many images wait for a reference.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    config : DifferencingConfig
    night : str, optional
        Only this night, YYYYMMDD.
    expids : sequence of int, optional
        Only these exposures.

    Returns
    -------
    work : list of DifferenceWork
        Images with status 1 whose row of difference_images is missing or of another version.
    waiting : int
    """
    where: Row = {"status": 1}
    where |= {"night": night} if night else {}
    where |= {"expid": list(expids)} if expids is not None else {}
    images = lakehouse.table(IMAGES).read(where=where).to_pylist()
    if not images:
        return [], 0
    those = {"vbest": [1, 2], "field": sorted({row["field"] for row in images})}
    best = {
        (row["field"], row["fid"], row["rcid"]): row
        for row in lakehouse.table(REFERENCES).read(where=those).to_pylist()
    }
    there = {name: value for name, value in where.items() if name != "status"}
    columns = ["pid", "processing_version", "pass_number"]
    done = {row["pid"]: row for row in lakehouse.table(DIFFERENCES).read(columns, there).to_pylist()}
    fixed: list[str] = []
    work, waiting = [], 0
    for image in sorted(images, key=lambda row: (row["obsjd"], row["pid"])):
        reference = best.get((image["field"], image["fid"], image["rcid"]))
        if image["field"] == 0 or not image["path"]:
            continue
        if reference is None:
            waiting += 1
            continue
        if image["pid"] in reference["epochs"] or (
            config.only_later and image["obsjd"] <= reference["jdend"]
        ):
            continue  # not independent of each other, or not before it
        fixed = fixed or catalog_identities(settings)
        inputs = [image["processing_version"], f"{reference['rfid']} {reference['version']}",
                  reference["processing_version"]]  # fmt: skip
        version = processing_version(STAGE, config, [*fixed, *inputs])
        row = done.get(image["pid"])
        if row is None or row["processing_version"] != version:
            work.append(DifferenceWork(image, reference, version, row["pass_number"] + 1 if row else 1))
    return work, waiting
