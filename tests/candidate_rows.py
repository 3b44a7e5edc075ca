"""Differences, candidates and alerts that a pipeline with known faults would leave of an invented sky."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from candidate_builders import EXPOSURE

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.tables import load_table
from zsds_tasks.simulator.truth.artefacts import ARTEFACT_SCHEMA
from zsds_tasks.simulator.truth.objects import OBJECT_SCHEMA
from zsds_tasks.simulator.truth.recipe import recipe_table
from zsds_tasks.simulator.truth.tables import DETECTION_SCHEMA, EXPOSURE_SCHEMA, write_truth
from zsds_tasks.survey.nights import ObservingNight

NIGHT = ObservingNight.parse("20251012")
VERSION = "0123456789ab"
EXPIDS, EPOCH_IDS, RCIDS = (320911000, 320912000), (320900100, 320900200), (0, 1)
ZERO_POINT, LIMIT = 26.2, 20.5
CORNER = (320.0, 12.0)
FIELD, FID = 4, 2


@dataclass(frozen=True)
class Faults:
    """What the imagined pipeline does badly."""

    lost: float = 0.0
    bogus: int = 3
    bias: float = 1.0
    sigma_factor: float = 1.0
    position_factor: float = 1.0
    split: bool = False
    scores: bool = False
    missed_by_score: float = 0.0


def sky_of(x, y):
    dec = CORNER[1] + np.asarray(y) / 3600
    return CORNER[0] - np.asarray(x) / 3600 / np.cos(np.radians(dec)), dec


def write_sky(truth, *, count=260, seed=4):
    """Write the truth of a night and of its reference's epochs; return what was planted, by (expid, rcid)."""
    rng = np.random.default_rng(seed)
    rows, planted = [], {}
    side = int(np.ceil(np.sqrt(count)))
    grid = np.linspace(40, 720, side)
    for rcid in RCIDS:
        x, y = (values.ravel()[:count] + rng.uniform(-5, 5, count) for values in np.meshgrid(grid, grid))
        x, y = np.append(x, np.linspace(60, 700, 40)), np.append(y, np.full(40, 755.0))
        identity = np.arange(count + 40) + 1 + 10_000 * rcid
        for expid in (*EXPIDS, *EPOCH_IDS):
            ra, dec = sky_of(x + 2000 * rcid, y)
            kind = np.where(np.arange(count + 40) < count, "transient", "star")
            snr = np.exp(np.random.default_rng(expid + rcid).uniform(np.log(3), np.log(60), count))
            mag = np.append(LIMIT - 2.5 * np.log10(snr / 5), np.full(40, 17.0))
            there = (kind == "star") | (expid in EXPIDS)
            columns = {
                "expid": np.full(count + 40, expid), "rcid": np.full(count + 40, rcid), "object_id": identity,
                "kind": kind, "x": x, "y": y, "ra": ra, "dec": dec, "mag": mag,
                "electrons": 6.2 * 10 ** (-0.4 * (mag - ZERO_POINT)),
                "flux_dn": 10 ** (-0.4 * (mag - ZERO_POINT)),
                "rate_east": np.zeros(count + 40), "rate_north": np.zeros(count + 40),
            }  # fmt: skip
            table = pa.table({n: pa.array(v[there]) for n, v in columns.items()})
            rows.append(table.cast(DETECTION_SCHEMA))
            if expid in EXPIDS:
                planted[expid, rcid] = {n: v[:count] for n, v in columns.items()}
    exposures = [
        {f.name: 0 for f in EXPOSURE_SCHEMA} | EXPOSURE
        | {"expid": e, "imgtypecode": "o", "is_sky": True, "is_science": True, "field": FIELD, "fid": FID}
        for e in (*EXPIDS, *EPOCH_IDS)
    ]  # fmt: skip
    tables = {
        "detections": pa.concat_tables(rows),
        "exposures": pa.Table.from_pylist(exposures, schema=EXPOSURE_SCHEMA),
        "objects": OBJECT_SCHEMA.empty_table(),
        "artefacts": ARTEFACT_SCHEMA.empty_table(),
        "recipe": recipe_table("mini", 3, ()),
    }
    write_truth(truth, NIGHT, tables)
    return planted


def pid_of(expid, rcid):
    return (expid * 100 + rcid) * 100 + 15


@lru_cache
def harmless(name: str, include: Path) -> dict:
    """Something harmless for every column of a table."""
    row = {}
    for column in load_table(name, include).columns:
        fill = {"string": "", "bool": False}.get(column.type, [] if column.type.startswith("list") else 0)
        row[column.name] = None if column.nullable else fill
    same = {"night": str(NIGHT), "processing_version": VERSION, "science_version": VERSION}
    same |= {"field": FIELD, "fid": FID, "programid": 1, "jd": 2460960.7, "obsjd": 2460960.7, "nid": 3209}
    return row | {n: v for n, v in same.items() if n in row}


def blank(lakehouse: Lakehouse, name: str, known: dict) -> dict:
    """A row of a table: what is known, and something harmless for the rest."""
    row = harmless(name, lakehouse.include)
    return row | {n: v for n, v in known.items() if n in row}


def write_lake(lakehouse: Lakehouse, planted: dict, faults: Faults = Faults(), *, seed=1, alerts=True):
    """Write what a pipeline with faults makes of the planted sky."""
    rng = np.random.default_rng(seed)
    sigma = 10 ** (-0.4 * (LIMIT - ZERO_POINT)) / 5
    images, found, sent = [], [], []
    for (expid, rcid), true in planted.items():
        pid = pid_of(expid, rcid)
        facts = {"pid": pid, "expid": expid, "rcid": rcid, "rfid": 412020000 + rcid, "rfversion": 1}
        images.append(
            facts | {"status": 1, "stage": "done", "pass_number": 1, "magzp": ZERO_POINT, "diffmaglim": LIMIT,
                     "fwhm_px": 2.0, "ra": CORNER[0], "dec": CORNER[1], "engine": "zogy",
                     "score_scatter": 0.99, "gain_over_zero_points": 1.0, "registration_px": 0.05,
                     "path": None}
        )  # fmt: skip
        flux = true["flux_dn"]
        error = np.sqrt(sigma**2 + flux * (4 / 3) / 6.2)
        measured = flux * faults.bias + rng.normal(0, 1, len(flux)) * error
        keep = (measured / error > 5) & (rng.uniform(size=len(flux)) >= faults.lost)
        sigpos = 0.9 * 2.0 * 1.012 / 2.3548 / (measured / error)
        for n, row in enumerate(np.flatnonzero(keep)):
            east, north = rng.normal(0, sigpos[row] * faults.position_factor, 2) / 3600
            places = {"ra": true["ra"][row] + east / np.cos(np.radians(true["dec"][row]))}
            places |= {"dec": true["dec"][row] + north, "xpos": true["x"][row], "ypos": true["y"][row]}
            known = facts | places | {
                "candid": pid * 10**6 + 15_000 + n, "tblid": n, "isdiffpos": True, "flux": measured[row],
                "sigflux": error[row] * faults.sigma_factor, "snr": measured[row] / error[row],
                "scorr": measured[row] / error[row], "sigpos": sigpos[row],
                "magpsf": ZERO_POINT - 2.5 * np.log10(measured[row]),
                "sigmapsf": 1.0857 * error[row] / measured[row], "fwhm": 2.0, "elong": 1.1, "magdiff": 0.0,
                "mindtoedge": 30.0, "diffmaglim": LIMIT,
            }  # fmt: skip
            if faults.scores:
                known |= {"drb": 0.2 if rng.uniform() < faults.missed_by_score else 0.95, "drbversion": "d1"}
            found.append(known)
            sent.append((known, int(true["object_id"][row])))
        for n in range(faults.bogus):
            x, y = 80.0 + 150 * n, 742.0
            ra, dec = sky_of(x + 2000 * rcid, y)
            known = facts | {
                "candid": pid * 10**6 + 10_000 + n, "tblid": n, "isdiffpos": False, "ra": ra, "dec": dec,
                "xpos": x, "ypos": y, "flux": 6 * sigma, "sigflux": sigma, "snr": 6.0, "scorr": 6.0,
                "magpsf": ZERO_POINT - 2.5 * np.log10(6 * sigma), "sigmapsf": 0.18, "fwhm": 9.0, "elong": 1.1,
                "magdiff": 0.0, "mindtoedge": 28.0, "diffmaglim": LIMIT,
            }  # fmt: skip
            found.append(known | ({"drb": 0.1, "drbversion": "d1"} if faults.scores else {}))
    lakehouse.table("difference_images").merge([blank(lakehouse, "difference_images", r) for r in images])
    if found:
        lakehouse.table("candidates").merge([blank(lakehouse, "candidates", r) for r in found])
    if alerts and sent:
        lakehouse.table("alerts").merge([_alert(lakehouse, n, *one, faults) for n, one in enumerate(sent)])


def _alert(lakehouse, number, known, object_id, faults):
    digits = number if faults.split else object_id
    letters = "".join(chr(97 + digits // 26**k % 26) for k in range(6, -1, -1))
    more = {"objectid": f"ZTF25{letters}", "topic": "ztf_20251012_programid1", "sha256": "0" * 64}
    more |= {"ndethist": 1, "ncovhist": 2}
    return blank(lakehouse, "alerts", known | more)


def with_fault(**changes) -> Faults:
    return dataclasses.replace(Faults(), **changes)
