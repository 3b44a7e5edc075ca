"""How well the light curves of a simulated night are those of its stars, against what was planted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zsds_tasks.errors import NothingToDoError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.nested import flat_nested
from zsds_tasks.science.matching.score import MatchingScore, score_objects
from zsds_tasks.simulator import score_statistics as stat
from zsds_tasks.simulator.score import Measure
from zsds_tasks.simulator.score_matching import columns_of, match_sources, rows_of
from zsds_tasks.simulator.score_samples import BRIGHT_SNR, COUNTED_SNR
from zsds_tasks.simulator.score_science import TruthReader
from zsds_tasks.simulator.truth.recipe import instrument_of
from zsds_tasks.simulator.truth.tables import read_truth
from zsds_tasks.survey.nights import ObservingNight

Row = dict[str, Any]
Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
WRONG_SHARE, REPEATABILITY_MMAG, PULL_RANGE = 0.001, 5.0, (0.95, 1.05)
"""Design section 9. Errors of light curves come from the scatter itself, for all stars of a magnitude."""
LEAST_EPOCHS, LEAST_STARS = 4, 20
NOWHERE = 0
_IMAGE = (
    *("pid", "expid", "rcid", "field", "fid", "status", "seeing", "magzp", "clrcoeff", "maglimit"),
    *("saturate", "path", "products"),
)
_NEEDED = ("seeing", "magzp", "clrcoeff", "maglimit", "saturate")
_SOURCE = ("pid", "sourceid", "rcid", "xpos", "ypos", "mag", "snr", "flags")


def assess_curves(lakehouse: Lakehouse, truth: Path, night: ObservingNight) -> list[Measure]:
    """Compare the stars that the night's detections were matched to with the true ones.

    Parameters
    ----------
    lakehouse : Lakehouse
    truth : Path
        Folder of truth tables.
    night : ObservingNight

    Returns
    -------
    list of Measure
        Empty if the night has no light curves, or is not a simulated one. Counted are stars that stand alone,
        are not saturated, and have an expected S/N over 10.
    """
    images = lakehouse.table("science_images").read(_IMAGE, {"night": str(night), "status": 1}).to_pylist()
    images = [row for row in images if row["field"] > 0 and all(row[name] is not None for name in _NEEDED)]
    if not images or not lakehouse.table("epochs").exists():
        return []
    try:
        reader = TruthReader(truth, night, instrument_of(truth, night, lakehouse.include), lakehouse)
        steady = _steady(truth, night)
    except NothingToDoError:
        return []
    seen = [_exposure(lakehouse, night, reader, rows) for rows in _by_exposure(images)]
    star, objectid, counted, bright = (np.concatenate(part) for part in zip(*seen, strict=True))
    if not len(star):
        return []
    score = _score(star, objectid, counted)
    names, numbers = np.unique(objectid[counted & (objectid != NOWHERE)], return_inverse=True)
    first = np.zeros(len(names), np.int64)
    first[numbers] = star[counted & (objectid != NOWHERE)][:, 1]
    is_bright = np.isin(names, objectid[bright])
    return [*_association(score), *_scatter(lakehouse, images, names, np.isin(first, steady), is_bright)]


def with_curves(report: Mapping[str, Any], measures: Sequence[Measure]) -> dict[str, Any]:
    """Return a score as the night's report takes it, with these measures behind its own."""
    return dict(report) | {"measures": [*report["measures"], *map(asdict, measures)]}


def _by_exposure(images: list[Row]) -> list[list[Row]]:
    groups: dict[int, list[Row]] = defaultdict(list)
    for row in images:
        groups[row["expid"]].append(row)
    return [groups[expid] for expid in sorted(groups)]


def _exposure(
    lakehouse: Lakehouse, night: ObservingNight, reader: TruthReader, images: list[Row]
) -> tuple[Rows, Rows, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return of each detection of a true star: its unit and star, objectid, whether it counts, is bright."""
    expid = images[0]["expid"]
    where = {"expid": expid, "night": str(night)}
    found = columns_of(lakehouse.table("sources").read(_SOURCE, where))
    found["objectid"] = _objects_of(lakehouse, images, found)
    true = reader.detections(expid)
    parts = []
    for row in images:
        here = rows_of(true, true["rcid"] == row["rcid"])
        there = rows_of(found, found["rcid"] == row["rcid"])
        match = match_sources(here, there, reader.channel(row))
        known = np.flatnonzero((match.partner >= 0) & here["is_star"])
        star, partner = here["object_id"][known], match.partner[known]
        unit = np.full(len(known), (row["field"] * 100 + row["fid"]) * 1000 + row["rcid"])
        counted = match.fit[known] & (match.snr[known] > COUNTED_SNR) & np.isfinite(there["mag"][partner])
        bright = counted & (match.snr[known] > BRIGHT_SNR)
        parts.append((np.stack([unit, star], axis=1), there["objectid"][partner], counted, bright))
    star, objectid, counted, bright = (np.concatenate(part) for part in zip(*parts, strict=True))
    return star, objectid, counted, bright


def _objects_of(lakehouse: Lakehouse, images: list[Row], found: dict[str, NDArray[Any]]) -> Rows:
    """Return the star of each source, `NOWHERE` where none was given."""
    star_of: dict[tuple[int, int], int] = {}
    for field, fid in sorted({(row["field"], row["fid"]) for row in images}):
        where = {"field": field, "fid": fid, "pid": [row["pid"] for row in images]}
        epochs = lakehouse.table("epochs").read(["pid", "sourceid", "objectid"], where)
        pid, sourceid, objectid = (epochs[name].to_pylist() for name in ("pid", "sourceid", "objectid"))
        star_of |= dict(zip(zip(pid, sourceid, strict=True), objectid, strict=True))
    mine = zip(found["pid"].tolist(), found["sourceid"].tolist(), strict=True)
    return np.array([star_of.get(source, NOWHERE) for source in mine], np.int64)


def _score(star: Rows, objectid: Rows, counted: NDArray[np.bool_]) -> MatchingScore:
    """Count stars by what became of them; a star in another unit is another star."""
    _, code = np.unique(star, axis=0, return_inverse=True)
    code = code.reshape(-1)
    judged = np.zeros(int(code.max()) + 1, np.bool_)
    judged[code[counted]] = True
    return score_objects(code.astype(np.int64), np.where(objectid == NOWHERE, -1, objectid), judged)


def _association(score: MatchingScore) -> list[Measure]:
    words = f"{score.split} split, {score.merged} merged of {score.stars:,} lonely stars, each in its unit"
    missed = score.missed / max(score.stars, 1)
    return [
        Measure(
            "split or merged stars", score.wrong_share, WRONG_SHARE, score.wrong_share <= WRONG_SHARE, words
        ),
        Measure(
            "stars without a light curve", missed, WRONG_SHARE, missed <= WRONG_SHARE,
            f"{score.missed} of {score.stars:,} lonely stars of expected S/N over {COUNTED_SNR:g}",
        ),
    ]  # fmt: skip


def _scatter(
    lakehouse: Lakehouse,
    images: list[Row],
    names: Rows,
    is_steady: NDArray[np.bool_],
    is_bright: NDArray[np.bool_],
) -> list[Measure]:
    """Return how far light curves of stars that do not vary scatter, over all nights."""
    scatters, pulls = [np.zeros(0)], [np.zeros(0)]
    for field, fid in sorted({(row["field"], row["fid"]) for row in images}):
        rcids = sorted({row["rcid"] for row in images if (row["field"], row["fid"]) == (field, fid)})
        table = lakehouse.table("lightcurves").read(
            ["objectid", "lightcurve"], {"fieldid": field, "filterid": fid, "rcid": rcids}
        )
        table = table.filter(pa.array(np.isin(table["objectid"].to_numpy(), names[is_steady])))
        rest, error, scatter = _residuals(table)
        pulls.append(rest / error)
        scatters.append(scatter[np.isin(table["objectid"].to_numpy(), names[is_steady & is_bright])])
    every, widths = np.concatenate(pulls), np.concatenate(scatters)
    widths, found = widths[np.isfinite(widths)], []
    if len(widths) >= LEAST_STARS:
        value = 1000 * float(np.median(widths))
        words = f"median scatter of {len(widths):,} light curves of steady stars, S/N over {BRIGHT_SNR:g}"
        name = "repeatability of light curves, mmag"
        found.append(Measure(name, value, REPEATABILITY_MMAG, value <= REPEATABILITY_MMAG, words))
    if len(every) >= LEAST_STARS * LEAST_EPOCHS:
        width = stat.width(every)
        words = f"{len(every):,} epochs of steady stars over their errors; should be "
        words += f"{PULL_RANGE[0]} to {PULL_RANGE[1]}"
        ok = PULL_RANGE[0] <= width <= PULL_RANGE[1]
        found.append(Measure("light-curve pull width", width, 1.0, ok, words))
    return found


def _residuals(curves: pa.Table) -> tuple[Floats, Floats, Floats]:
    """Return residuals and errors of the clean epochs of light curves that have enough of them, and scatters.

    Residuals are from the mean, and as wide as if that took nothing away. Scatters are of all rows, NaN where
    there are too few epochs.
    """
    offsets, flat = flat_nested(curves, "lightcurve", ("mag", "magerr", "catflags"))
    clean = flat["catflags"] == 0
    row = np.repeat(np.arange(curves.num_rows), np.diff(offsets))[clean]
    mag, error = (flat[name][clean].astype(np.float64) for name in ("mag", "magerr"))
    count = np.bincount(row, minlength=curves.num_rows)
    enough = count >= LEAST_EPOCHS
    known = np.maximum(count, 2)
    rest = mag - (np.bincount(row, mag, curves.num_rows) / known)[row]
    scatter = np.sqrt(np.bincount(row, rest**2, curves.num_rows) / (known - 1))
    keep = enough[row]
    widened = rest / np.sqrt(1 - 1 / known)[row]
    return widened[keep], error[keep], np.where(enough, scatter, np.nan)


def _steady(truth: Path, night: ObservingNight) -> Rows:
    """Return the stars that do not vary."""
    objects = read_truth(truth, night, "objects").select(["object_id", "kind"])
    return np.asarray(objects.filter(pc.equal(objects["kind"], "star"))["object_id"].to_numpy(), np.int64)
