"""Build what masters of a night are missing: the work list is a query, doing it twice changes nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.parallel import map_ordered
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.settings import Settings
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.calibration.channel import BIAS, FLAT, MASK, ChannelWork, Key, make_channel
from zsds_tasks.steps.calibration.configuration import STAGE, CalibrationConfig, load_calibration_config
from zsds_tasks.steps.calibration.selection import TABLE, Row, nearest_accepted, nights_around
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.filenames import CalibrationKind
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import load_survey

CHANNELS_PER_COMMIT = 64
FRAME_COLUMNS = (
    "expid", "rcid", "hdu", "path", "sha256", "file_size", "gain", "saturation", "imgtypecode", "fid",
    "obsjd", "received_at",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CalibrationSummary:
    """What came of building the masters of a night.

    Parameters
    ----------
    night : str
    built, accepted : int
        Masters made now, and those of them that may be used.
    refused : tuple of str
        The others, each with its reason.
    channels : int
        Worked on.
    seconds : float
    processing_version : str
    reason : str
        Why nothing was to be done; empty if something was.
    """

    night: str
    built: int
    accepted: int
    refused: tuple[str, ...]
    channels: int
    seconds: float
    processing_version: str
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return dataclasses.asdict(self) | {"refused": list(self.refused)}


def build_masters(
    lakehouse: Lakehouse,
    settings: Settings,
    night: str,
    now: dt.datetime,
    *,
    progress: Progress | None = None,
    config: CalibrationConfig | None = None,
) -> CalibrationSummary:
    """Build what is missing: bias, flats and mask of each channel whose frames have no row of this version.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        Camera and workers.
    night : str
        YYYYMMDD.
    now : datetime.datetime
        UTC; frames received later are left for another run.
    progress : callable, optional
        Called with what was done, how many, of how many.
    config : CalibrationConfig, optional
        By default that of ``include/config/calibration.yaml``.

    Returns
    -------
    CalibrationSummary
        A refused master is no failure: its row says why.

    Raises
    ------
    UnusableInputError
        If raw files could not be read; names each. All other channels are built and recorded.
    """
    night = str(ObservingNight.parse(night))
    config = config or load_calibration_config(settings.include)
    started = time.perf_counter()
    camera = load_camera(settings.camera, settings.include)
    version = processing_version(STAGE, config.for_masters(), [camera.model_dump_json()])
    frames = calibration_frames(lakehouse, settings, night, now)
    work = list(_work_list(lakehouse, night, frames, version, config))
    done, failures = [], []
    for start in range(0, len(work), CHANNELS_PER_COMMIT):
        batch, rows = work[start : start + CHANNELS_PER_COMMIT], []
        for number, outcome in enumerate(_made(batch, lakehouse, settings, config), start=start + 1):
            if isinstance(outcome, str):
                failures.append(outcome)
            else:
                rows += outcome
            if progress:
                progress("channels", number, len(work))
        if rows:
            lakehouse.table(TABLE).merge(rows)
        done += rows
    if failures:
        raise UnusableInputError(
            f"masters of {len(failures)} channels could not be built: {'; '.join(failures[:10])}",
            subject=f"night {night}",
            remedy="restore the files from a copy, or have them sent again: ingest heals a missing file",
        )
    refused = tuple(
        f"channel {r['rcid']} {r['kind']} {r['filtercode']}: {r['reason']}" for r in done if not r["accepted"]
    )
    idle = "every master is built" if frames else "no calibration frames"
    seconds = time.perf_counter() - started
    return CalibrationSummary(
        night, len(done), len(done) - len(refused), refused, len(work), seconds, version, "" if work else idle
    )


def _made(
    work: list[ChannelWork], lakehouse: Lakehouse, settings: Settings, config: CalibrationConfig
) -> Iterator[list[Row] | str]:
    sizes = {row["path"]: row["file_size"] for w in work for rows in w.frames.values() for row in rows}
    small = sum(sizes.values()) < config.parallel_mb * 1e6
    function = partial(make_channel, settings=settings, config=config)
    if small:
        function = partial(function, lakehouse=lakehouse)
    return map_ordered(function, work, workers=1 if small else None, settings=settings)


def calibration_frames(
    lakehouse: Lakehouse, settings: Settings, night: str, now: dt.datetime
) -> dict[int, dict[Key, list[Row]]]:
    """Return the calibration frames of a night by channel, then by kind and filter; in order of time.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        The camera.
    night : str
        YYYYMMDD.
    now : datetime.datetime
        UTC; frames received later are left out.

    Returns
    -------
    dict
        Rows of raw_quadrants with LED and exposure time (s).
    """
    camera = load_camera(settings.camera, settings.include)
    kinds = {t.code: t.name for t in load_survey(camera.survey, settings.include).image_types}
    where = {
        "night": night,
        "imgtypecode": [code for code, name in kinds.items() if name in {"bias", "flat"}],
    }
    exposures = lakehouse.table("raw_exposures").read(["expid", "led", "exptime"], where).to_pylist()
    lamps = {row["expid"]: {"led": row["led"], "exptime": row["exptime"]} for row in exposures}
    found: dict[int, dict[Key, list[Row]]] = {}
    rows = lakehouse.table("raw_quadrants").read(list(FRAME_COLUMNS), where).to_pylist()
    for row in sorted(rows, key=lambda row: (row["rcid"], row["obsjd"], row["expid"])):
        if row["received_at"] > now or row["expid"] not in lamps:
            continue
        key = (BIAS, 0) if kinds[row["imgtypecode"]] == "bias" else (FLAT, row["fid"])
        kept = {name: row[name] for name in FRAME_COLUMNS[:8]} | lamps[row["expid"]]
        found.setdefault(row["rcid"], {}).setdefault(key, []).append(kept)
    return found


def _work_list(
    lakehouse: Lakehouse,
    night: str,
    frames: dict[int, dict[Key, list[Row]]],
    version: str,
    config: CalibrationConfig,
) -> Iterator[ChannelWork]:
    """Yield the channels of which a master has no row of these inputs and this version."""
    where = {"night": nights_around(ObservingNight.parse(night), config.validity_days)}
    table = lakehouse.table(TABLE).read(where=where) if frames else None
    rows: dict[int, list[Row]] = {}
    for row in table.to_pylist() if table is not None else ():
        rows.setdefault(row["rcid"], []).append(row)
    for rcid, by_kind in sorted(frames.items()):
        known = rows.get(rcid, [])
        digests = _digests(by_kind)
        have = {
            (CalibrationKind(row["kind"]), row["fid"]): (row["inputs_digest"], row["processing_version"])
            for row in known
            if row["night"] == night
        }
        if all(have.get(key) == (digest, version) for key, digest in digests.items()):
            continue
        earlier = {key: row for key in digests for row in [_last_before(known, night, key)] if row}
        others = [row for row in known if row["kind"] == BIAS and row["night"] != night]
        fallback = nearest_accepted(others, ObservingNight.parse(night), config.validity_days)
        yield ChannelWork(night, rcid, by_kind, digests, earlier, fallback, version)


def _digests(by_kind: dict[Key, list[Row]]) -> dict[Key, str]:
    """Return what each master of a channel is made from: flats also from the bias, masks from all."""
    bias = by_kind.get((BIAS, 0), [])
    digests = {
        key: _digest([*rows, *(bias if key[0] == FLAT else ())]) for key, rows in sorted(by_kind.items())
    }
    if bias and any(kind == FLAT for kind, _ in by_kind):
        digests[MASK, 0] = _digest(row for rows in by_kind.values() for row in rows)
    return digests


def _digest(rows: Iterable[Row]) -> str:
    return hashlib.sha256("".join(sorted(row["sha256"] for row in rows)).encode()).hexdigest()


def _last_before(rows: Iterable[Row], night: str, key: Key) -> Row | None:
    accepted = [
        row
        for row in rows
        if row["accepted"] and row["night"] < night and (row["kind"], row["fid"]) == (key[0].value, key[1])
    ]
    return max(accepted, key=lambda row: row["night"], default=None)
