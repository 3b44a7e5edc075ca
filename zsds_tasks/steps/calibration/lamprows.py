"""From cells of flats to rows and files: the joint fit, a curve and a shutter per channel, a flat per LED."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.compressed import Card
from zsds_tasks.pixels.mesh import mesh_shape
from zsds_tasks.science.calibration.acceptance import Verdict, judge_map
from zsds_tasks.science.calibration.lampcells import cell_areas, cell_centres
from zsds_tasks.science.calibration.linearity import FITTED, CurveChoice, choose_curve, levels, true_over_raw
from zsds_tasks.science.calibration.ramps import ChannelRamp, RampFit, fit_ramps
from zsds_tasks.science.calibration.robust import robust_sigma
from zsds_tasks.science.calibration.shutter import SmoothMap, mesh_nodes, smooth_map
from zsds_tasks.steps.calibration.configuration import CalibrationConfig
from zsds_tasks.steps.calibration.mapfiles import CELL, map_cards, map_images, read_smooth_map
from zsds_tasks.steps.calibration.selection import Row
from zsds_tasks.steps.calibration.writing import Label, Office
from zsds_tasks.survey.camera import Camera
from zsds_tasks.survey.filenames import CalibrationKind
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import load_survey

if TYPE_CHECKING:
    from zsds_tasks.steps.calibration.lamps import ChannelLamps, LampWork

LINEARITY, SHUTTER = CalibrationKind.LINEARITY, CalibrationKind.SHUTTER
LED_FLAT = CalibrationKind.LED_FLAT
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LampNight:
    """What all rows of a night share.

    Parameters
    ----------
    night, digest, version : str
    lakehouse : Lakehouse
    camera : Camera
    config : CalibrationConfig
    known : list of dict
        Rows of master_frames of the nights around.
    """

    night: str
    digest: str
    version: str
    lakehouse: Lakehouse
    camera: Camera
    config: CalibrationConfig
    known: list[Row]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a channel."""
        return self.camera.quadrant.ny, self.camera.quadrant.nx

    def field_places(self, rcid: int, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return where 0-based pixels lie in the focal plane, in half diagonals of the camera."""
        east, north = self.camera.focal_plane(rcid, x + 1.0, y + 1.0)  # type: ignore[arg-type]
        radius = float(np.hypot(*self.camera.half_size_arcsec))
        return np.asarray(east) / radius, np.asarray(north) / radius


def lamp_rows(night: LampNight, work: Sequence[LampWork], measured: Sequence[ChannelLamps]) -> list[Row]:
    """Solve a night's flats, write the files and return the rows of every channel.

    Parameters
    ----------
    night : LampNight
    work : sequence of LampWork
        All channels with flats.
    measured : sequence of ChannelLamps
        Those of them that could be measured.

    Returns
    -------
    list of dict
    """
    fit, why = _fit(night, measured)
    survey = load_survey(night.camera.survey, night.lakehouse.include)
    office = Office(night.lakehouse, night.camera, survey, night.version, night.config.validity_days)
    by_channel = {channel.rcid: channel for channel in measured}
    rows = []
    for channel in work:
        lamps = by_channel.get(channel.rcid)
        if lamps is None and channel.bias is not None:
            continue  # its files could not be read: it has no row, and is tried again
        maker = _ChannelRows(night, office, channel.rcid, lamps)
        no_bias = f"no accepted bias within {night.config.validity_days} days"
        curve = maker.linearity(fit, why if lamps else no_bias)
        shutter = maker.shutter(fit if lamps else None, why if lamps else no_bias)
        rows += maker.rows
        rows += [
            maker.led_flat(fid, curve, shutter) for fid in sorted({row["fid"] for row in channel.frames})
        ]
    return rows


def _fit(night: LampNight, measured: Sequence[ChannelLamps]) -> tuple[RampFit | None, str]:
    """Return the joint fit, or None and why there is none."""
    ramps = {}
    for channel in measured:
        x, y = cell_centres(night.shape, night.config.lamps.cells.cell_px)
        u, v = night.field_places(channel.rcid, x, y)
        curve = night.camera.quadrants[channel.rcid].detector.linearity
        ramps[channel.rcid] = ChannelRamp(channel.cells, u, v, (curve.a, curve.b))
    try:
        return fit_ramps(ramps, night.config.lamps.ramp), ""
    except UnusableInputError as error:
        return None, error.reason


class _ChannelRows:
    """Makes the rows of one channel."""

    def __init__(self, night: LampNight, office: Office, rcid: int, lamps: ChannelLamps | None) -> None:
        self.night, self.office, self.lamps = night, office, lamps
        self.quadrant = night.camera.quadrants[rcid]
        self.rows: list[Row] = []

    def linearity(self, fit: RampFit | None, why: str) -> CurveChoice:
        """Choose the curve and add its row, which is always accepted: it holds the curve to use."""
        curve, found = self.quadrant.detector.linearity, None
        saturation = self.lamps.saturation if self.lamps else self.quadrant.detector.saturation
        if fit is not None and self.lamps is not None:
            found = fit.curves[self.quadrant.rcid]
        choice = choose_curve(
            found, (curve.a, curve.b), saturation, self.night.config.lamps.linearity, why_none=why
        )
        errors = found.errors() if found is not None and choice.choice == FITTED else (None, None)
        facts = self._facts() | {
            "choice": choice.choice, "lin_a": choice.a, "lin_b": choice.b,
            "lin_a_error": errors[0], "lin_b_error": errors[1],
            "noise": choice.error, "change": choice.change,
        }  # fmt: skip
        x = levels(saturation)
        cards: list[Card] = [
            ("LINCHOIC", choice.choice, "curve fitted tonight or as configured"),
            ("LINA", choice.a, "DN_true = x / (A x^2 + B x + 1)"),
            ("LINB", choice.b, "DN_true = x / (A x^2 + B x + 1)"),
            ("LINSTEP", float(x[1]), "image: DN_true/x at multiples of it, DN"),
        ]
        images = {"CURVE": true_over_raw(x, choice.a, choice.b)[None, :]}
        verdict = Verdict(True, f"{choice.choice}: {choice.reason}")
        self.rows.append(self.office.maps(self._label(LINEARITY, 0), images, verdict, cards, **facts))
        return choice

    def shutter(self, fit: RampFit | None, why: str) -> SmoothMap | None:
        """Judge the shutter and add its row; None if it is refused."""
        label = self._label(SHUTTER, 0)
        if fit is None:
            self.rows.append(self.office.maps(label, {}, Verdict(False, why), **self._facts()))
            return None
        config = self.night.config.lamps.shutter
        x, y = mesh_nodes(self.night.shape, config.cell_px)
        values, error = fit.shutter(*self.night.field_places(self.quadrant.rcid, x, y))
        found = smooth_map(values, error, config.cell_px, self.night.shape)
        earlier = last_accepted(self.night.known, self.night.night, label)
        verdict = judge_map(values, error, config.limits, _previous(self.night, earlier))
        facts = self._facts() | map_facts(found, earlier)
        self.rows.append(self.office.maps(label, map_images(found), verdict, map_cards(found), **facts))
        return found if verdict.accepted else None

    def led_flat(self, fid: int, curve: CurveChoice, shutter: SmoothMap | None) -> Row:
        """Return the row of the LED flats of a filter."""
        label, lamps = self._label(LED_FLAT, fid), self.lamps
        if lamps is None or fid not in lamps.response:
            missing = "bias" if lamps is None else "high-frequency flat"
            reason = f"no accepted {missing} within {self.night.config.validity_days} days"
            return self.office.maps(label, {}, Verdict(False, reason), **self._facts(fid))
        cell = self.night.config.lamps.cells.cell_px
        seconds: Floats = np.zeros(mesh_shape(self.night.shape, cell))
        if shutter is not None:
            x, y = cell_centres(self.night.shape, cell)
            seconds = shutter.values.at(x.ravel(), y.ravel()).astype(np.float64).reshape(x.shape)
        maps, errors = led_maps(lamps, fid, (curve.a, curve.b), seconds, self.night.shape, cell)
        known = np.array([np.isfinite(m).all() for m in maps.values()])
        noise = float(np.nanmedian(errors)) if np.isfinite(errors).any() else np.nan
        limit, faults = self.night.config.lamps.max_led_noise, []
        if not known.all():
            faults.append(f"{np.count_nonzero(~known)} LEDs with cells without a number")
        if not noise <= limit:
            faults.append(f"noise: uncertainty {noise:.3g} over the limit {limit:g}")
        facts = self._facts(fid) | {
            "noise": noise if np.isfinite(noise) else None,
            "scatter": robust_sigma(np.stack(list(maps.values()))) if known.all() else None,
        }
        verdict = Verdict(not faults, "; ".join(faults) or f"{len(maps)} LEDs")
        images = {f"LED{led:02d}": image for led, image in maps.items()}
        cards: list[Card] = [(CELL, cell, "side of a cell, pixels of the channel")]
        return self.office.maps(label, images, verdict, cards, **facts)

    def _label(self, kind: CalibrationKind, fid: int) -> Label:
        night = ObservingNight.parse(self.night.night)
        return Label(night, self.quadrant, kind, fid, self.night.digest)

    def _facts(self, fid: int = 0) -> dict[str, Any]:
        """Return what is known of the frames; of one filter, or of all (0)."""
        if self.lamps is None:
            return {}
        mine = (self.lamps.fid == fid) | (fid == 0)
        mean = self.lamps.cells.mean[mine]
        level = float(np.nanmedian(mean)) if np.isfinite(mean).any() else None
        return {"n_frames": int(mine.sum()), "bias_night": self.lamps.bias_night, "level": level}


def led_maps(
    lamps: ChannelLamps,
    fid: int,
    curve: tuple[float, float],
    shutter: Floats,
    shape: tuple[int, int],
    cell: int,
) -> tuple[dict[int, Floats], Floats]:
    """Return the smooth flat of every LED of a filter, (my, mx) of mean 1, and their errors (n, my, mx).

    The high-frequency flat is taken out, as it is of science images; frames weigh by their light.
    """
    cells, area = lamps.cells, cell_areas(shape, cell)
    maps, errors = {}, []
    for led in np.unique(cells.led[lamps.fid == fid]):
        own = (lamps.fid == fid) & (cells.led == led)
        x = cells.mean[own]
        light = x * true_over_raw(x, *curve)
        seconds = cells.exptime[own][:, None, None] + shutter
        total = light.sum(axis=0) / seconds.sum(axis=0) / lamps.response[fid]
        error = np.sqrt(np.sum(cells.error[own] ** 2, axis=0)) / light.sum(axis=0)
        mean = (
            np.nansum(total * area) / np.sum(area * np.isfinite(total)) if np.isfinite(total).any() else 1.0
        )
        maps[int(led)] = total / mean
        errors.append(error)
    return maps, np.array(errors)


def last_accepted(known: Sequence[Row], night: str, label: Label) -> Row | None:
    """Return the row of the last accepted master of a kind, channel and filter before a night."""
    key = (label.quadrant.rcid, label.kind.value, label.fid)
    rows = [
        row
        for row in known
        if row["accepted"] and row["night"] < night and (row["rcid"], row["kind"], row["fid"]) == key
    ]
    return max(rows, key=lambda row: row["night"], default=None)


def map_facts(found: SmoothMap, earlier: Row | None) -> dict[str, Any]:
    """Return what a row says of a smooth map."""
    return {
        "scatter": robust_sigma(found.values.values),
        "noise": found.noise,
        "average": float(found.values.values.mean()),
        "previous_night": earlier["night"] if earlier else None,
    }


def _previous(night: LampNight, earlier: Row | None) -> tuple[Floats, Floats] | None:
    if earlier is None:
        return None
    found = read_smooth_map(night.lakehouse, earlier, night.shape)
    return found.values.values.astype(np.float64), found.error.values.astype(np.float64)
