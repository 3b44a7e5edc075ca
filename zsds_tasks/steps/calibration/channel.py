"""All masters of one channel and night: bias first, then flats, then the mask that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zsds_tasks.errors import ConfigurationError, TransientError
from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.science.calibration.acceptance import Verdict, judge_frame, judge_mask
from zsds_tasks.science.calibration.badpixels import flag_bad_pixels
from zsds_tasks.science.calibration.masters import (
    ChannelFacts,
    Image,
    Master,
    Readout,
    build_bias,
    build_flat,
    spread_frames,
)
from zsds_tasks.settings import Settings
from zsds_tasks.steps import readouts
from zsds_tasks.steps.calibration.configuration import CalibrationConfig
from zsds_tasks.steps.calibration.selection import Row, read_master
from zsds_tasks.steps.calibration.writing import Label, Office
from zsds_tasks.survey.camera import Quadrant, load_camera
from zsds_tasks.survey.filenames import CalibrationKind
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import load_survey

BIAS, FLAT, MASK = CalibrationKind.BIAS, CalibrationKind.HIGH_FREQUENCY_FLAT, CalibrationKind.BAD_PIXELS
Key = tuple[CalibrationKind, int]
"""Kind and filter of a master."""


@dataclass(frozen=True)
class ChannelWork:
    """What one worker is given: identifiers and rows, no pixels.

    Parameters
    ----------
    night : str
        YYYYMMDD.
    rcid : int
    frames : dict
        Rows of raw_quadrants with the LED, by kind and filter; in order of time.
    digests : dict
        Digest of the inputs of every master to be made.
    earlier : dict
        Row of the last accepted master before the night.
    fallback : dict or None
        Row of the nearest accepted bias of another night.
    version : str
        Processing version.
    """

    night: str
    rcid: int
    frames: dict[Key, list[Row]]
    digests: dict[Key, str]
    earlier: dict[Key, Row]
    fallback: Row | None
    version: str


def make_channel(
    work: ChannelWork, settings: Settings, config: CalibrationConfig, lakehouse: Lakehouse | None = None
) -> list[Row] | str:
    """Build, judge and write the masters of one channel.

    Parameters
    ----------
    work : ChannelWork
    settings : Settings
    config : CalibrationConfig
    lakehouse : Lakehouse, optional
        By default the one of the settings is opened: a parallel worker does so.

    Returns
    -------
    list of dict, or str
        Rows of master_frames; a sentence if a raw frame or an earlier master cannot be read.
    """
    lakehouse = lakehouse or open_lakehouse(settings)
    try:
        return _Channel(work, settings, config, lakehouse).rows()
    except (TransientError, ConfigurationError):
        raise
    except Exception as error:  # noqa: BLE001 - one channel must not stop the night; the caller reports it
        return f"channel {work.rcid}: {type(error).__name__}: {error}"


class _Channel:
    def __init__(
        self, work: ChannelWork, settings: Settings, config: CalibrationConfig, lakehouse: Lakehouse
    ) -> None:
        camera = load_camera(settings.camera, settings.include)
        survey = load_survey(camera.survey, settings.include)
        self.work, self.config, self.lakehouse = work, config, lakehouse
        self.quadrant = camera.quadrants[work.rcid]
        self.office = Office(lakehouse, camera, survey, work.version, config.validity_days)

    def rows(self) -> list[Row]:
        rows: list[Row] = []
        bias = self._bias(rows)
        image, night = self._bias_for_flats(bias)
        flats = [
            flat
            for key in self.work.digests
            if key[0] == FLAT
            for flat in [self._flat(key, image, night, rows)]
            if flat is not None
        ]
        if (MASK, 0) in self.work.digests:
            self._mask(bias, flats, rows)
        return rows

    def _bias(self, rows: list[Row]) -> Master | None:
        """Make tonight's bias; None if there is none or it is refused."""
        key = (BIAS, 0)
        if key not in self.work.digests:
            return None
        readouts, surplus = self._readouts(key, self.config.bias.max_frames)
        master = build_bias(readouts, self._facts(key), self.config.overscan, self.config.bias)
        limits = self.config.acceptance.bias
        verdict = judge_frame(master, limits, self._earlier(key))
        rows.append(self.office.frame(self._label(key), master, verdict, surplus, **self._compared(key)))
        return master if verdict.accepted else None

    def _bias_for_flats(self, tonight: Master | None) -> tuple[Image | None, str | None]:
        if tonight is not None:
            return tonight.image, self.work.night
        if self.work.fallback is None:
            return None, None
        return read_master(self.lakehouse, self.work.fallback), self.work.fallback["night"]

    def _flat(self, key: Key, bias: Image | None, bias_night: str | None, rows: list[Row]) -> Master | None:
        """Make the flat of a filter; None if it is refused."""
        if bias is None:
            days = self.config.validity_days
            verdict = Verdict(False, f"no accepted bias within {days} days")
            rows.append(self.office.frame(self._label(key), None, verdict, 0))
            return None
        facts, config = self._facts(key), self.config
        readouts, surplus = self._readouts(key, config.flat.max_frames)
        master = build_flat(readouts, facts, bias, config.overscan, config.flat)
        verdict = judge_frame(master, config.acceptance.flat, self._earlier(key))
        facts_of_row = {"bias_night": bias_night} | self._compared(key)
        rows.append(self.office.frame(self._label(key), master, verdict, surplus, **facts_of_row))
        return master if verdict.accepted else None

    def _mask(self, bias: Master | None, flats: Sequence[Master], rows: list[Row]) -> None:
        key = (MASK, 0)
        if bias is None or not flats:
            verdict = Verdict(False, f"no accepted {'bias' if bias is None else 'flat'} of this night")
            rows.append(self.office.mask(self._label(key), None, verdict))
            return
        mask = flag_bad_pixels(bias, flats, self.config.bad_pixels)
        earlier = self.work.earlier.get(key)
        previous = read_master(self.lakehouse, earlier) if earlier else None
        verdict = judge_mask(mask, self.config.acceptance.mask, previous)
        frames = {
            "n_frames": sum(len(master.used) for master in (bias, *flats)),
            "bias_night": self.work.night,
        }
        rows.append(self.office.mask(self._label(key), mask, verdict, **frames, **self._compared(key)))

    def _earlier(self, key: Key) -> tuple[Image, Image] | None:
        row = self.work.earlier.get(key)
        if row is None:
            return None
        return read_master(self.lakehouse, row), read_master(self.lakehouse, row, uncertainty=True)

    def _compared(self, key: Key) -> dict[str, Any]:
        earlier = self.work.earlier.get(key)
        return {"previous_night": earlier["night"] if earlier else None}

    def _label(self, key: Key) -> Label:
        night = ObservingNight.parse(self.work.night)
        return Label(night, self.quadrant, key[0], key[1], self.work.digests[key])

    def _facts(self, key: Key) -> ChannelFacts:
        return channel_facts(self.quadrant, self.work.frames[key][0])

    def _readouts(self, key: Key, most: int) -> tuple[list[Readout], int]:
        """Read at most so many frames; return them and how many there are besides."""
        rows = self.work.frames[key]
        chosen = [rows[place] for place in spread_frames([row["led"] or 0 for row in rows], most)]
        return [read_readout(self.lakehouse, row) for row in chosen], len(rows) - len(chosen)


def channel_facts(quadrant: Quadrant, row: Row) -> ChannelFacts:
    """Return what has to be known of a channel, gain and saturation as a raw row gives them."""
    linearity = quadrant.detector.linearity
    return ChannelFacts(quadrant.amplifier.read_x, row["gain"], row["saturation"], (linearity.a, linearity.b))


def read_readout(lakehouse: Lakehouse, row: Row) -> Readout:
    """Read one channel of a raw file.

    Parameters
    ----------
    lakehouse : Lakehouse
    row : dict
        Of raw_quadrants, with the LED.

    Raises
    ------
    UnusableInputError
        If the file is gone or has changed.
    """
    found = readouts.read_readout(lakehouse, row)
    return Readout(str(row["expid"]), found.image, found.overscan, row["led"] or 0)
