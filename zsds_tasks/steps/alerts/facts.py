"""What a packet says of a candidate besides its measures: facts of image, difference, reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.packets import MISSING, MISSING_FLUX

IMAGES, DIFFERENCES, REFERENCES = "science_images", "difference_images", "references"
Row = Mapping[str, Any]
CORNERS = tuple(f"{axis}{k}" for k in range(1, 5) for axis in ("ra", "dec"))
OF_IMAGES = {
    "magzpsci": "magzp", "magzpsciunc": "magzpunc", "magzpscirms": "magzprms", "nmatches": "nmatches",
    "clrcoeff": "clrcoeff", "clrcounc": "clrcounc", "exptime": "exptime", "nid": "nid",
}  # fmt: skip
"""Published name: column of science_images."""


class ImageFacts:
    """Facts of images, by product.

    Parameters
    ----------
    lakehouse : Lakehouse
    pids : iterable of int
        Products that are asked for.
    """

    def __init__(self, lakehouse: Lakehouse, pids: Iterable[int]) -> None:
        where = {"pid": sorted(set(pids))}
        columns = ["pid", *dict.fromkeys(OF_IMAGES.values()), *CORNERS]
        self.images = _by(lakehouse.table(IMAGES).read(columns, where), "pid")
        wanted = ["pid", "diffmaglim", "path", "rfid", "rfversion", "status"]
        self.differences = _by(lakehouse.table(DIFFERENCES).read(wanted, where), "pid")
        keys = sorted({row["rfid"] for row in self.differences.values()})
        span = ["rfid", "version", "jdstart", "jdend", "nframes"]
        self.references = {
            (row["rfid"], row["version"]): row
            for row in lakehouse.table(REFERENCES).read(span, {"rfid": keys}).to_pylist()
        }

    def of(self, pid: int) -> dict[str, Any]:
        """Return what every candidate of a product shares, under the published names."""
        image, difference = self.images[pid], self.differences[pid]
        reference = self.references[difference["rfid"], difference["rfversion"]]
        file = (difference["path"] or "").rpartition("/")[2]
        return {name: image[column] for name, column in OF_IMAGES.items()} | {
            "diffmaglim": difference["diffmaglim"],
            "pdiffimfilename": file or None,
            "jdstartref": reference["jdstart"],
            "jdendref": reference["jdend"],
            "nframesref": reference["nframes"],
        }


def with_facts(candidates: pa.Table, facts: ImageFacts) -> pa.Table:
    """Return candidates with the fields of a packet that their images know.

    Parameters
    ----------
    candidates : pyarrow.Table
        Of the table of that name.
    facts : ImageFacts
        Of all their products.

    Returns
    -------
    pyarrow.Table
        isdiffpos as text, and where there is nothing near what ZTF says then.
    """
    shared = {pid: facts.of(pid) for pid in set(candidates["pid"].to_pylist())}
    rows = [shared[pid] for pid in candidates["pid"].to_pylist()]
    table = candidates
    for name in next(iter(shared.values()), {}):
        values = pa.array([row[name] for row in rows])
        table = _set(table, name, values)
    signs = ["t" if value else "f" for value in table["isdiffpos"].to_pylist()]
    table = _set(table, "isdiffpos", pa.array(signs, pa.string()))
    for name in ("ranr", "decnr"):
        table = _set(table, name, table[name].combine_chunks().fill_null(MISSING_FLUX))
    for k in range(1, 4):
        for name in (*(f"s{band}mag{k}" for band in "griz"), f"sgscore{k}", f"distpsnr{k}"):
            table = _set(table, name, table[name].combine_chunks().fill_null(MISSING))
    n = table.num_rows
    table = _set(table, "ssdistnr", pa.array([MISSING] * n, pa.float32()))
    table = _set(table, "ssmagnr", pa.array([MISSING] * n, pa.float32()))
    table = _set(table, "ssnamenr", pa.array(["null"] * n, pa.string()))
    for name in ("rbversion", "drbversion"):
        words = [word or "none" for word in table[name].to_pylist()]
        table = _set(table, name, pa.array(words, pa.string()))
    return table


def with_columns(table: pa.Table, columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Return a table with columns set."""
    for name, values in columns.items():
        table = _set(table, name, pa.array(values))
    return table


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.append_column(name, values) if at < 0 else table.set_column(at, name, values)


def _by(table: pa.Table, key: str) -> dict[int, Row]:
    return {row[key]: row for row in table.to_pylist()}
