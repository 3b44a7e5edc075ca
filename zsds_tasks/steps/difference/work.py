"""Which science images a reference is to be subtracted from: those that may be used and have one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.settings import Settings
from zsds_tasks.steps.difference.configuration import STAGE, DifferencingConfig
from zsds_tasks.steps.difference.scores import model_versions
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


@dataclass(frozen=True)
class ReferenceChoice:
    """What is to be subtracted from an image, known before the image is.

    Parameters
    ----------
    reference, version, number
        As of `DifferenceWork`.
    """

    reference: Row
    version: str
    number: int

    def of(self, image: Row) -> DifferenceWork:
        """Return the work, given the image's row of science_images."""
        return DifferenceWork(image, self.reference, self.version, self.number)


class ReferenceShelf:
    """The references in use and what was made with them, read once for many images.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    config : DifferencingConfig
    fields : iterable of int
        Of the images.
    where : mapping
        Which rows of difference_images are those of the images; see `zsds_tasks.lakehouse.Table.read`.
    """

    def __init__(
        self,
        lakehouse: Lakehouse,
        settings: Settings,
        config: DifferencingConfig,
        fields: Iterable[int],
        where: Mapping[str, Any],
    ) -> None:
        self._settings, self._config = settings, config
        those = {"vbest": [1, 2], "field": sorted(set(fields))}
        self._best: dict[tuple[int, int, int], Row] = {
            (row["field"], row["fid"], row["rcid"]): row
            for row in lakehouse.table(REFERENCES).read(where=those).to_pylist()
        }
        columns = ["pid", "processing_version", "pass_number"]
        rows = lakehouse.table(DIFFERENCES).read(columns, where).to_pylist() if self._best else []
        self._done: dict[int, Row] = {row["pid"]: row for row in rows}
        self._fixed: list[str] = []

    def has(self, image: Row) -> bool:
        """Say whether there is a reference of the field, filter and channel of an image."""
        return (image["field"], image["fid"], image["rcid"]) in self._best

    def choose(self, image: Row) -> ReferenceChoice | None:
        """Return what is to be subtracted from an image; None if nothing can be.

        Parameters
        ----------
        image : dict
            pid, field, fid, rcid, obsjd, processing_version and raw_sha256, as in science_images.
        """
        reference = self._best.get((image["field"], image["fid"], image["rcid"]))
        if image["field"] == 0 or reference is None:
            return None
        if image["pid"] in reference["epochs"] or (
            self._config.only_later and image["obsjd"] <= reference["jdend"]
        ):
            return None  # not independent of each other, or not before it
        self._fixed = self._fixed or [
            *catalog_identities(self._settings),
            *model_versions(self._settings),
        ]
        inputs = [image["processing_version"], image["raw_sha256"],
                  f"{reference['rfid']} {reference['version']}", reference["processing_version"]]  # fmt: skip
        decisive = self._config.model_copy(update={"reference_cache_mb": 0.0})  # speed changes no pixel
        version = processing_version(STAGE, decisive, [*self._fixed, *inputs])
        row = self._done.get(image["pid"])
        another = row is not None and row["processing_version"] != version
        return ReferenceChoice(reference, version, (row["pass_number"] if row else 1) + another)

    def is_done(self, image: Row, choice: ReferenceChoice) -> bool:
        """Say whether an image has a row of the version it was chosen for."""
        row = self._done.get(image["pid"])
        return row is not None and row["processing_version"] == choice.version


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
    there: Row = {"night": night} if night else {}
    there |= {"expid": list(expids)} if expids is not None else {}
    images = lakehouse.table(IMAGES).read(where=there | {"status": 1}).to_pylist()
    images = [image for image in images if image["field"] and image["path"]]
    if not images:
        return [], 0
    shelf = ReferenceShelf(lakehouse, settings, config, (image["field"] for image in images), there)
    work = []
    for image in sorted(images, key=lambda row: (row["obsjd"], row["pid"])):
        choice = shelf.choose(image)
        if choice and not shelf.is_done(image, choice):
            work.append(choice.of(image))
    return work, sum(not shelf.has(image) for image in images)
