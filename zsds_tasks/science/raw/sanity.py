"""Can this header be true? Camera, identity, time and pointing, each a generator of defects.

All take values that have passed the header contract.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zsds_tasks.science.raw.defects import Defect, DefectCode
from zsds_tasks.science.raw.rules import RawRules
from zsds_tasks.sky.horizon import Observer, airmass, horizontal
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.survey.filenames import RawFileName
from zsds_tasks.survey.identifiers import ExposureId
from zsds_tasks.survey.nights import from_mjd, jd

Values = Mapping[str, Any]
SKY_FIELDS = frozenset({"target_ra", "target_dec", "airmass"})
ROUNDING = dt.timedelta(milliseconds=10)  # of OBSMJD in few digits: the exposure's number has steps


def camera_defects(
    values: Values, quadrants: Sequence[Values], ccdid: int, rules: RawRules
) -> Iterator[Defect]:
    """Hold readout channels, amplifiers, gains and pixel scale against the camera."""
    camera, config = rules.camera, rules.config
    for header, quadrant in zip(quadrants, camera.quadrants_of(ccdid), strict=True):
        amplifier = quadrant.amplifier
        wanted = {
            "ccd_id": ccdid,
            "qid": quadrant.qid,
            "rcid": quadrant.rcid,
            "amp_id": amplifier.amp_id,
            "amp_name": amplifier.name,
        }
        for field, value in wanted.items():
            if header.get(field, value) != value:
                yield Defect(
                    DefectCode.WRONG_CAMERA,
                    f"HDU {quadrant.qid} {rules.keyword(field)} is {header[field]}, the camera has {value}",
                )
        gain, nominal = header.get("gain"), quadrant.detector.gain
        if gain is not None and abs(gain / nominal - 1) > config.gain_tolerance:
            yield Defect(
                DefectCode.WRONG_CAMERA,
                f"HDU {quadrant.qid} {rules.keyword('gain')} is {gain:g}, the camera has {nominal:g}",
            )
    scale, nominal = values.get("pixel_scale"), camera.mosaic.pixel_scale_arcsec
    if scale is not None and abs(scale / nominal - 1) > config.scale_tolerance:
        yield Defect(
            DefectCode.WRONG_CAMERA,
            f"{rules.keyword('pixel_scale')} is {scale:g} arcsec, the camera has {nominal:g}",
        )


def identity_defects(name: RawFileName, values: Values, rules: RawRules) -> Iterator[Defect]:
    """Hold the file name against the header, and the header's words against the survey's."""
    survey = rules.survey
    by_name: dict[str, Any] = {"field": name.field, "ccdid": name.ccdid, "imgtypecode": name.imgtypecode}
    is_dark = name.filtercode == survey.dark_filter_code
    by_name["fid"] = 0 if is_dark else survey.filter_by_code(name.filtercode).fid
    if not is_dark:
        by_name["filter"] = survey.filter_by_code(name.filtercode).header
    for field, wanted in by_name.items():
        if values[field] != wanted:
            yield Defect(
                DefectCode.IDENTITY_MISMATCH,
                f"{rules.keyword(field)} is {values[field]}, the file name says {wanted}",
            )
    known = [program.id for program in survey.programs]
    if values["programid"] not in known:
        yield Defect(
            DefectCode.IDENTITY_MISMATCH,
            f"{rules.keyword('programid')} is {values['programid']}, the survey has {known}",
        )
    early = (from_mjd(values["obsmjd"]) - name.epoch.start).total_seconds()
    if not -rules.config.name_follows_s <= early <= rules.config.name_precedes_s:
        yield Defect(
            DefectCode.IDENTITY_MISMATCH,
            f"the file name's instant {name.epoch} precedes {rules.keyword('obsmjd')} by {early:.1f} s, "
            f"not by {-rules.config.name_follows_s:g} to {rules.config.name_precedes_s:g} s",
        )


def time_defects(values: Values, rules: RawRules) -> Iterator[Defect]:
    """Hold the four ways of saying one instant, the numbers derived from it, and the clock together."""
    config, survey = rules.config, rules.survey
    start = from_mjd(values["obsmjd"])
    offsets = {
        "date_obs": (values["date_obs"] - start).total_seconds(),
        "shutter_open": (values["shutter_open"] - start).total_seconds(),
        "obsjd": (values["obsjd"] - jd(start)) * 86_400,
    }
    for field, offset in offsets.items():
        if abs(offset) > config.time_tolerance_s:
            yield Defect(
                DefectCode.IMPOSSIBLE_TIME,
                f"{rules.keyword(field)} differs from {rules.keyword('obsmjd')} by {offset:.1f} s",
            )
    open_s = (values["shutter_closed"] - values["shutter_open"]).total_seconds()
    if abs(open_s - values["exptime"]) > config.shutter_tolerance_s:
        yield Defect(
            DefectCode.IMPOSSIBLE_TIME,
            f"{rules.keyword('shutter_closed')} is {open_s:.1f} s after {rules.keyword('shutter_open')}, "
            f"{rules.keyword('exptime')} is {values['exptime']:g} s",
        )
    ahead = (start - rules.now).total_seconds()
    if ahead > config.clock_skew_s:
        yield Defect(
            DefectCode.IMPOSSIBLE_TIME,
            f"{rules.keyword('obsmjd')} ({start:%Y-%m-%d %H:%M:%S} UTC) is in the future",
        )
    if start.date() < survey.night_zero:
        yield Defect(DefectCode.IMPOSSIBLE_TIME, f"{start:%Y-%m-%d} is before the survey's night zero")
        return
    numbers = [
        int(ExposureId.of(instant, survey.night_zero)) for instant in (start - ROUNDING, start + ROUNDING)
    ]
    if not numbers[0] <= values["expid"] <= numbers[1]:
        yield Defect(
            DefectCode.IMPOSSIBLE_TIME,
            f"{rules.keyword('expid')} is {values['expid']}, {rules.keyword('obsmjd')} makes it {numbers[1]}",
        )
    elif values["nid"] != ExposureId.parse(values["expid"]).nid:
        yield Defect(
            DefectCode.IMPOSSIBLE_TIME,
            f"{rules.keyword('nid')} is {values['nid']}, {rules.keyword('expid')} begins with "
            f"{ExposureId.parse(values['expid']).nid}",
        )


def pointing_defects(values: Values, rules: RawRules) -> Iterator[Defect]:
    """Hold request, telescope, field, elevation and airmass of an on-sky frame together."""
    if not rules.survey.image_type(values["imgtypecode"]).sky:
        return
    if not values.keys() >= SKY_FIELDS:
        return  # the name says another kind of frame, whose contract asks less: an identity defect already
    config = rules.config
    telescope, target = (values["telra"], values["teldec"]), (values["target_ra"], values["target_dec"])
    off = float(separation_deg(*telescope, *target))
    if off > config.pointing_tolerance_deg:
        yield _pointing(f"the telescope looks {off:.2f} deg beside the requested position")
    yield from _field_defects(values, target, rules)
    site = rules.camera.site
    observer = Observer(site.latitude_deg, site.longitude_deg, site.elevation_m)
    _, _, altitude = horizontal(*telescope, values["obsmjd"], observer)
    elevation = values["elevation"]
    if elevation <= 0:
        yield _pointing(f"{rules.keyword('elevation')} is {elevation:g} deg, below the horizon")
        return
    if abs(float(altitude) - elevation) > config.elevation_tolerance_deg:
        yield _pointing(
            f"{rules.keyword('elevation')} is {elevation:.1f} deg, "
            f"time and pointing make it {float(altitude):.1f}"
        )
    expected = float(airmass(elevation))
    if elevation > config.airmass_checked_above_deg and (
        abs(values["airmass"] / expected - 1) > config.airmass_tolerance
    ):
        yield _pointing(
            f"{rules.keyword('airmass')} is {values['airmass']:.2f}, the elevation makes it {expected:.2f}"
        )


def _field_defects(values: Values, target: tuple[float, float], rules: RawRules) -> Iterator[Defect]:
    grid, number = rules.fields, values["field"]
    is_science = rules.survey.is_science(values["imgtypecode"], values["programid"])
    if number == 0 and not is_science:
        return  # engineering frames may lie off the grid
    field = grid.by_id.get(number)
    if not grid.pointing_exact:
        return
    if field is None:
        yield _pointing(f"{rules.keyword('field')} {number} is not in the grid {grid.name}")
        return
    off = float(separation_deg(*target, field.ra, field.dec))
    if off > rules.config.pointing_tolerance_deg:
        yield _pointing(f"the requested position lies {off:.2f} deg from the centre of field {number}")


def _pointing(reason: str) -> Defect:
    return Defect(DefectCode.IMPOSSIBLE_POINTING, reason)
