"""Raw files as the camera writes them (reference 1.5): one per CCD, nine extensions, the header contract.

HDU 0 holds the keywords of the exposure, HDUs 1 to 4 the Rice-compressed images of quadrants 1 to 4, and HDUs
5 to 8 their overscans; every HDU has CHECKSUM and DATASUM. The bytes depend on nothing but the arguments: no
date of writing appears.
"""

from __future__ import annotations

import datetime as dt

from astropy.io import fits

from zsds_tasks.errors import ConfigurationError
from zsds_tasks.simulator.delivery.packed_fits import image_hdu, primary_hdu
from zsds_tasks.simulator.instrument.ccd_frame import CcdFrame
from zsds_tasks.simulator.observing.schedule import ScheduleConfig
from zsds_tasks.simulator.products import Exposure
from zsds_tasks.survey.camera import Camera, Quadrant
from zsds_tasks.survey.headers import HeaderContract, HeaderKeyword, Scope
from zsds_tasks.survey.nights import jd, mjd
from zsds_tasks.survey.survey import Survey

Value = str | int | float | bool
FITS_DATETIME = "%Y-%m-%dT%H:%M:%S.%f"


def write_frame(primary: fits.Header, extensions: list[fits.Header], frame: CcdFrame) -> bytes:
    """Return the bytes of one raw file.

    Parameters
    ----------
    primary : Header
        Keywords of the primary HDU.
    extensions : list of Header
        Keywords of the quadrants, in order of qid; given to image and overscan alike.
    frame : CcdFrame
        The counts.

    Returns
    -------
    bytes
        An fpacked multi-extension FITS file.
    """
    parts = [primary_hdu(primary)]
    for kind, arrays in (("IMAGE", frame.images), ("OVERSCAN", frame.overscans)):
        for qid, (array, header) in enumerate(zip(arrays, extensions, strict=True), start=1):
            parts.append(image_hdu(f"{kind}{qid}", array, header))
    return b"".join(parts)


def primary_header(
    contract: HeaderContract,
    camera: Camera,
    survey: Survey,
    schedule: ScheduleConfig,
    exposure: Exposure,
    ccdid: int,
) -> fits.Header:
    """Return the exposure's keywords in one CCD's file."""
    values = exposure_values(camera, survey, schedule, exposure) | {"ccdid": ccdid}
    return _header(contract, ("exposure", "ccd"), values, exposure.imgtypecode)


def quadrant_header(contract: HeaderContract, quadrant: Quadrant, exposure: Exposure) -> fits.Header:
    """Return the keywords of one readout channel."""
    detector, amplifier = quadrant.detector, quadrant.amplifier
    values: dict[str, Value | None] = {
        "ccd_id": quadrant.ccdid,
        "qid": quadrant.qid,
        "rcid": quadrant.rcid,
        "amp_id": amplifier.amp_id,
        "amp_name": amplifier.name,
        "gain": detector.gain,
        "readnoise": detector.read_noise,
        "dark_current": detector.dark_current,
        "saturation": detector.saturation,
    }
    return _header(contract, ("quadrant",), values, exposure.imgtypecode)


def exposure_values(
    camera: Camera, survey: Survey, schedule: ScheduleConfig, exposure: Exposure
) -> dict[str, Value | None]:
    """Return what the camera claims about an exposure, by field of the contract; None for what it lacks."""
    image_type = survey.image_type(exposure.imgtypecode)
    program = survey.program(exposure.programid)
    is_sky = exposure.is_sky
    return {
        "origin": camera.observatory.origin,
        "telescope": camera.observatory.telescope,
        "instrument": camera.observatory.instrument,
        "observer": "ZSDS simulator",
        "field": exposure.field,
        "programid": exposure.programid,
        "program_pi": program.name,
        "program_title": program.name,
        "nid": exposure.nid,
        "expid": exposure.expid,
        "imgtype": image_type.name,
        "imgtypecode": image_type.code,
        "itid": survey.image_types.index(image_type) + 1,
        "is_too": False,
        "filter": exposure.filter.header if exposure.filter else "dark",
        "fid": exposure.fid,
        "led": exposure.led,
        "led_wavelength": schedule.led_wavelength_nm[exposure.led] if exposure.led else None,
        "led_power": schedule.led_power_mw if exposure.led else None,
        "target_ra": exposure.requested_ra if is_sky else None,
        "target_dec": exposure.requested_dec if is_sky else None,
        "airmass": round(exposure.airmass, 4) if is_sky else None,
        **_time_values(exposure),
        **_pointing_values(camera, exposure),
        **_surroundings(exposure),
    }


def _time_values(exposure: Exposure) -> dict[str, Value | None]:
    opened = exposure.start.strftime(FITS_DATETIME)
    return {
        "date_obs": opened,
        "obsjd": jd(exposure.start),
        "obsmjd": mjd(exposure.start),
        "shutter_open": opened,
        "shutter_closed": exposure.shutter_closed.strftime(FITS_DATETIME),
        "exptime": exposure.exptime_s,
        "aexptime": (exposure.shutter_closed - exposure.start) / dt.timedelta(seconds=1),
    }


def _pointing_values(camera: Camera, exposure: Exposure) -> dict[str, Value | None]:
    return {
        "telra": round(exposure.header_ra, 6) % 360.0,
        "teldec": round(exposure.header_dec, 6),
        "hour_angle": round(exposure.hour_angle_deg, 4),
        "azimuth": round(exposure.azimuth_deg, 4) % 360.0,
        "elevation": round(exposure.elevation_deg, 4),
        "rotator": round(exposure.header_rotation_deg, 4),
        "pixel_scale": camera.mosaic.pixel_scale_arcsec,
        "dome_azimuth": round(exposure.azimuth_deg, 1) % 360.0,
        "focus_position": exposure.focus_mm,
    }


def _surroundings(exposure: Exposure) -> dict[str, Value | None]:
    weather = exposure.weather
    return {
        "humidity": round(weather.humidity_percent, 1),
        "temperature": round(weather.temperature_c, 1),
        "wind_speed": round(weather.wind_speed_kmh, 1),
        "pressure": round(weather.pressure_mbar, 1),
        "moon_ra": round(exposure.moon_ra, 4) % 360.0,
        "moon_dec": round(exposure.moon_dec, 4),
        "moonalt": round(exposure.moon_altitude_deg, 3),
        "moonillf": round(exposure.moon_illumination, 4),
        "sunalt": round(exposure.sun_altitude_deg, 3),
    }


def _header(
    contract: HeaderContract, scopes: tuple[Scope, ...], values: dict[str, Value | None], imgtypecode: str
) -> fits.Header:
    header = fits.Header()
    for keyword in contract.of(*scopes):
        value = values.get(keyword.field)
        if value is not None:
            header[keyword.keyword] = (_checked(keyword, value), _comment(keyword))
        elif keyword.needed_for(imgtypecode):
            raise ConfigurationError(
                f"the simulator has no {keyword.field}, which frames of type {imgtypecode} must carry",
                subject=f"header contract {contract.name}",
                remedy="give it one in simulator/delivery/frames.py or make the keyword optional",
            )
    return header


def _checked(keyword: HeaderKeyword, value: Value) -> Value:
    number = float(value) if keyword.type == "float" else value
    low_high = keyword.range
    if low_high and not low_high[0] <= float(number) <= low_high[1]:
        raise ConfigurationError(
            f"simulated {keyword.field} is outside the contract",
            subject=keyword.keyword,
            remedy="mend the simulator or the range",
            value=value,
            range=list(low_high),
        )
    return number


def _comment(keyword: HeaderKeyword) -> str:
    return f"[{keyword.unit}] {keyword.comment}" if keyword.unit else keyword.comment
