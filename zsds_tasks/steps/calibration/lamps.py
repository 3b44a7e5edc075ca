"""Linearity, shutter and LED flats of a night: flats are read once, then all channels solved together."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import time
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import ConfigurationError, TransientError, UnusableInputError
from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.parallel import map_ordered
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.science.calibration.lampcells import LampCells, cell_means, measure_lamps
from zsds_tasks.settings import Settings
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.calibration.build import CalibrationSummary, calibration_frames
from zsds_tasks.steps.calibration.channel import BIAS, FLAT, Key, channel_facts, read_readout
from zsds_tasks.steps.calibration.configuration import STAGE, CalibrationConfig, load_calibration_config
from zsds_tasks.steps.calibration.lamprows import LED_FLAT, LINEARITY, SHUTTER, LampNight, lamp_rows
from zsds_tasks.steps.calibration.selection import TABLE, Row, nearest_accepted, nights_around, read_master
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import ObservingNight


@dataclasses.dataclass(frozen=True)
class LampWork:
    """What one worker is given: rows, no pixels.

    Parameters
    ----------
    rcid : int
    frames : tuple of dict
        Flats in order of time: rows of raw_quadrants with LED, exposure time and filter.
    bias : dict or None
        Row of the master bias.
    flats : dict
        Rows of high-frequency flats by filter.
    """

    rcid: int
    frames: tuple[Row, ...]
    bias: Row | None
    flats: dict[int, Row]


@dataclasses.dataclass(frozen=True)
class ChannelLamps:
    """Flats of a channel in cells.

    Parameters
    ----------
    rcid : int
    cells : LampCells
    fid : numpy.ndarray (n), int64
        Filter of each frame.
    response : dict of numpy.ndarray (my, mx), float64
        Mean of the high-frequency flat in the cells, by filter.
    saturation : float
        DN over the bias.
    bias_night : str
    """

    rcid: int
    cells: LampCells
    fid: NDArray[np.int64]
    response: dict[int, NDArray[np.float64]]
    saturation: float
    bias_night: str


def build_lamp_maps(
    lakehouse: Lakehouse,
    settings: Settings,
    night: str,
    now: dt.datetime,
    *,
    progress: Progress | None = None,
    config: CalibrationConfig | None = None,
) -> CalibrationSummary:
    """Build linearity, shutter and LED flats of a night, if their flats and masters have changed.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    night : str
        YYYYMMDD. Its biases and high-frequency flats should be built; else those of the nearest nights serve.
    now : datetime.datetime
        UTC; frames received later are left for another run.
    progress : callable, optional
    config : CalibrationConfig, optional

    Returns
    -------
    CalibrationSummary
        Of a channel whose fit is too uncertain the row holds the configured curve and says so.

    Raises
    ------
    UnusableInputError
        If raw files could not be read; names each. All other channels are built and recorded.
    """
    night = str(ObservingNight.parse(night))
    config = config or load_calibration_config(settings.include)
    started = time.perf_counter()
    camera = load_camera(settings.camera, settings.include)
    version = processing_version(f"{STAGE} lamps", config.for_lamp_maps(), [camera.model_dump_json()])
    known = _master_rows(lakehouse, night, config.validity_days)
    work = _work(calibration_frames(lakehouse, settings, night, now), known, night, config.validity_days)
    digest = _digest(work)
    if _is_built(work, known, night, (digest, version)):
        idle = "every map is built" if work else "no flats"
        return CalibrationSummary(night, 0, 0, (), 0, time.perf_counter() - started, version, idle)
    measured, failures = [], []
    for number, outcome in enumerate(_measured(work, lakehouse, settings, config), start=1):
        if isinstance(outcome, str):
            failures.append(outcome)
        else:
            measured.append(outcome)
        if progress:
            progress("channels", number, len(work))
    lamp_night = LampNight(night, digest, version, lakehouse, camera, config, known)
    rows = lamp_rows(lamp_night, work, measured)
    lakehouse.table(TABLE).merge(rows)
    if failures:
        raise UnusableInputError(
            f"flats of {len(failures)} channels could not be measured: {'; '.join(failures[:10])}",
            subject=f"night {night}",
            remedy="restore the files from a copy, or have them sent again: ingest heals a missing file",
        )
    refused = tuple(
        f"channel {r['rcid']} {r['kind']} {r['filtercode']}: {r['reason']}" for r in rows if not r["accepted"]
    )
    seconds = time.perf_counter() - started
    return CalibrationSummary(
        night, len(rows), len(rows) - len(refused), refused, len(work), seconds, version
    )


def measure_channel(
    work: LampWork, settings: Settings, config: CalibrationConfig, lakehouse: Lakehouse | None = None
) -> ChannelLamps | str:
    """Measure the flats of one channel in cells.

    Returns
    -------
    ChannelLamps or str
        A sentence if a raw frame or a master cannot be read.
    """
    lakehouse = lakehouse or open_lakehouse(settings)
    assert work.bias is not None  # noqa: S101 - narrows for mypy: `_measured` leaves out channels without one
    try:
        quadrant = load_camera(settings.camera, settings.include).quadrants[work.rcid]
        facts = channel_facts(quadrant, work.frames[0])
        bias = read_master(lakehouse, work.bias)
        frames = ((read_readout(lakehouse, row), float(row["exptime"])) for row in work.frames)
        cells = measure_lamps(frames, facts, bias, config.overscan, config.lamps.cells)
        response = {
            fid: cell_means(
                read_master(lakehouse, row), config.lamps.cells.cell_px, config.lamps.cells.clip_sigma
            )[0]
            for fid, row in work.flats.items()
        }
        return ChannelLamps(
            work.rcid,
            cells,
            np.array([row["fid"] for row in work.frames], np.int64),
            response,
            facts.saturation,
            work.bias["night"],
        )
    except (TransientError, ConfigurationError):
        raise
    except Exception as error:  # noqa: BLE001 - one channel must not stop the night; the caller reports it
        return f"channel {work.rcid}: {type(error).__name__}: {error}"


def _measured(
    work: list[LampWork], lakehouse: Lakehouse, settings: Settings, config: CalibrationConfig
) -> Iterator[ChannelLamps | str]:
    able = [channel for channel in work if channel.bias is not None]
    sizes = {row["path"]: row["file_size"] for channel in able for row in channel.frames}
    small = sum(sizes.values()) < config.parallel_mb * 1e6
    function = partial(measure_channel, settings=settings, config=config)
    if small:
        function = partial(function, lakehouse=lakehouse)
    return map_ordered(function, able, workers=1 if small else None, settings=settings)


def _master_rows(lakehouse: Lakehouse, night: str, days: int) -> list[Row]:
    kinds = [kind.value for kind in (BIAS, FLAT, LINEARITY, SHUTTER, LED_FLAT)]
    where = {"night": nights_around(ObservingNight.parse(night), days), "kind": kinds}
    return list(lakehouse.table(TABLE).read(where=where).to_pylist())


def _work(
    frames: dict[int, dict[Key, list[Row]]], known: Iterable[Row], night: str, days: int
) -> list[LampWork]:
    this = ObservingNight.parse(night)
    masters: dict[tuple[int, str, int], list[Row]] = {}
    for row in known:
        masters.setdefault((row["rcid"], row["kind"], row["fid"]), []).append(row)
    work = []
    for rcid, by_kind in sorted(frames.items()):
        flats = [row | {"fid": fid} for (kind, fid), rows in by_kind.items() if kind == FLAT for row in rows]
        if not flats:
            continue
        bias = nearest_accepted(masters.get((rcid, BIAS.value, 0), []), this, days)
        response = {
            fid: row
            for fid in sorted({row["fid"] for row in flats})
            for row in [nearest_accepted(masters.get((rcid, FLAT.value, fid), []), this, days)]
            if row is not None
        }
        ordered = tuple(sorted(flats, key=lambda row: row["expid"]))
        work.append(LampWork(rcid, ordered, bias, response))
    return work


def _digest(work: Iterable[LampWork]) -> str:
    """Return one digest of everything: all channels are solved together."""
    words = [
        row["sha256"]
        for channel in work
        for row in (*channel.frames, *([channel.bias] if channel.bias else []), *channel.flats.values())
    ]
    return hashlib.sha256("".join(sorted(words)).encode()).hexdigest()


def _is_built(work: list[LampWork], known: Iterable[Row], night: str, wanted: tuple[str, str]) -> bool:
    have = {
        (row["rcid"], row["kind"], row["fid"])
        for row in known
        if row["night"] == night and (row["inputs_digest"], row["processing_version"]) == wanted
    }
    needed = {
        (channel.rcid, kind.value, fid)
        for channel in work
        for kind, fids in ((LINEARITY, {0}), (SHUTTER, {0}), (LED_FLAT, {r["fid"] for r in channel.frames}))
        for fid in fids
    }
    return needed <= have
