"""What a packet says of a candidate besides its measures: of image, difference, reference, programme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.near import read_region
from zsds_tasks.products.packets import MISSING, MISSING_FLUX
from zsds_tasks.settings import Settings
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.survey import Survey, load_survey

IMAGES, DIFFERENCES, REFERENCES = "science_images", "difference_images", "references"
QUALITY = "image_quality"
Row = Mapping[str, Any]
CORNERS = tuple(f"{axis}{k}" for k in range(1, 5) for axis in ("ra", "dec"))
OF_IMAGES = {
    "magzpsci": "magzp", "magzpsciunc": "magzpunc", "magzpscirms": "magzprms", "nmatches": "nmatches",
    "clrcoeff": "clrcoeff", "clrcounc": "clrcounc", "exptime": "exptime", "nid": "nid",
}  # fmt: skip
"""Published name: column of science_images."""
OF_DIFFERENCES = (
    "pid", "expid", "rcid", "obsjd", "field", "fid", "programid", "diffmaglim", "path", "products", "rfid",
    "rfversion",
)  # fmt: skip
NO_SCORE = "none"


@dataclass(frozen=True)
class Region:
    """Where and when an exposure's packets look.

    Parameters
    ----------
    centre : (ra, dec), degrees
    radius_deg : float
    since, until : float
        JD; half-open.
    """

    centre: tuple[float, float]
    radius_deg: float
    since: float | None
    until: float


class ImageFacts:
    """Facts of the usable difference images of a region, by product.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        Names the camera, and so the survey whose programmes these are.
    region : Region
    """

    def __init__(self, lakehouse: Lakehouse, settings: Settings, region: Region) -> None:
        self.lakehouse, self.region = lakehouse, region
        self.survey = survey_of(settings.camera, lakehouse.include)
        found = self.read(DIFFERENCES, OF_DIFFERENCES, {"status": 1})
        self.differences = {row["pid"]: row for row in found.to_pylist()}
        columns = ["pid", *dict.fromkeys(OF_IMAGES.values()), *CORNERS]
        images = self.read(IMAGES, columns, {})
        self.images = {row["pid"]: row for row in images.to_pylist()}
        keys = sorted({row["rfid"] for row in self.differences.values()})
        span = ["rfid", "version", "jdstart", "jdend", "nframes"]
        self.references = {
            (row["rfid"], row["version"]): row
            for row in lakehouse.table(REFERENCES).read(span, {"rfid": keys}).to_pylist()
        }

    def read(self, table: str, columns: Sequence[str], where: Row) -> pa.Table:
        """Return rows of a table of images in this region."""
        times = {"obsjd": (self.region.since, self.region.until)}
        there = self.region.centre, self.region.radius_deg
        return read_region(self.lakehouse.table(table), *there, columns, times | dict(where))

    def of(self, pid: int) -> dict[str, Any]:
        """Return what every candidate of a product shares, under the published names."""
        image, difference = self.images[pid], self.differences[pid]
        reference = self.references[difference["rfid"], difference["rfversion"]]
        file = (difference["path"] or "").rpartition("/")[2]
        return {name: image[column] for name, column in OF_IMAGES.items()} | {
            "diffmaglim": difference["diffmaglim"],
            "pdiffimfilename": file or None,
            "programpi": self.survey.investigator(difference["programid"]),
            "jdstartref": reference["jdstart"],
            "jdendref": reference["jdend"],
            "nframesref": reference["nframes"],
        }


@lru_cache(maxsize=8)
def survey_of(camera: str, include: Path) -> Survey:
    """Return the survey that a camera serves."""
    return load_survey(load_camera(camera, include).survey, include)


def with_facts(candidates: pa.Table, facts: ImageFacts) -> pa.Table:
    """Return candidates with the fields of a packet that their images know.

    Parameters
    ----------
    candidates : pyarrow.Table
        Of the table of that name, or some of its columns.
    facts : ImageFacts
        Of all their products.

    Returns
    -------
    pyarrow.Table
        isdiffpos as text, and where there is nothing near what ZTF says then.
    """
    pids = candidates["pid"].to_pylist()
    shared = {pid: facts.of(pid) for pid in set(pids)}
    table = candidates
    for name in next(iter(shared.values()), {}):
        table = _set(table, name, pa.array([shared[pid][name] for pid in pids]))
    signs = ["t" if value else "f" for value in table["isdiffpos"].to_pylist()]
    table = _set(table, "isdiffpos", pa.array(signs, pa.string()))
    beside = [f"s{band}mag{k}" for band in "griz" for k in range(1, 4)]
    beside += [f"{name}{k}" for name in ("sgscore", "distpsnr") for k in range(1, 4)]
    for names, missing in ((("ranr", "decnr"), MISSING_FLUX), (beside, MISSING)):
        for name in set(names) & set(table.column_names):
            table = _set(table, name, table[name].combine_chunks().fill_null(missing))
    for name in {"rbversion", "drbversion"} & set(table.column_names):
        words = [word or NO_SCORE for word in table[name].to_pylist()]
        table = _set(table, name, pa.array(words, pa.string()))
    return table


def with_columns(table: pa.Table, columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Return a table with columns set."""
    for name, values in columns.items():
        table = _set(table, name, values if isinstance(values, pa.Array) else pa.array(values))
    return table


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.append_column(name, values) if at < 0 else table.set_column(at, name, values)
