"""Rows and raw files of a small seeded night, written into a lakehouse: what ingest would have left."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.settings import Settings
from zsds_tasks.survey.camera import Camera, load_camera
from zsds_tasks.survey.fields import load_fields
from zsds_tasks.survey.filenames import RawFileName
from zsds_tasks.survey.identifiers import ExposureId
from zsds_tasks.survey.nights import FileFracDay, ObservingNight, jd, mjd
from zsds_tasks.survey.survey import load_survey

NIGHT = "20181013"
RECEIVED = dt.timedelta(seconds=50)


@dataclass(frozen=True)
class Plan:
    """What a night consists of."""

    bias: int = 4
    flats: int = 3
    science: int = 9
    engineering: int = 1
    quarantined: int = 3
    missing_ccd: bool = True
    night: str = NIGHT
    seed: int = 5


@dataclass
class Night:
    """Rows by table, and the raw files behind them."""

    camera: Camera
    tables: dict[str, list[dict]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def write(self, lakehouse: Lakehouse) -> None:
        for path, data in self.files.items():
            lakehouse.storage.put_bytes_atomically(data, path)
        for name, rows in self.tables.items():
            if rows:
                lakehouse.table(name).merge(rows)


def make_night(settings: Settings, plan: Plan = Plan(), *, pixels: bool = False) -> Night:
    """Return a night; with `pixels`, the raw files of the science exposure in its middle too."""
    camera = load_camera(settings.camera, settings.include)
    night = Night(
        camera, {name: [] for name in ("raw_exposures", "raw_quadrants", "raw_quality", "quarantine")}
    )
    rng = np.random.default_rng(plan.seed)
    shots = _schedule(settings, camera, plan)
    science = [n for n, shot in enumerate(shots) if shot["imgtypecode"] == "o"]
    cut_short = science[-2] if plan.missing_ccd and len(science) > 1 else None
    whole = [n for n in science if n != cut_short]
    for number, shot in enumerate(shots):
        has_all = number != cut_short
        data = _pixels(camera, rng) if pixels and whole and number == whole[len(whole) // 2] else {}
        _add_exposure(settings, night, plan, shot, rng, camera.ccdids if has_all else [1], data)
    codes = ["truncated", "header_contract", "conflict", "checksum_mismatch", "wrong_shape"]
    for number in range(plan.quarantined):
        night.tables["quarantine"].append(_refusal(plan, number, codes[number % len(codes)]))
    return night


def _schedule(settings: Settings, camera: Camera, plan: Plan) -> list[dict]:
    survey, grid = load_survey(camera.survey, settings.include), load_fields(camera.fields, settings.include)
    morning = dt.datetime.combine(ObservingNight.parse(plan.night).date, dt.time(), tzinfo=dt.UTC)
    fields = [f for f in grid.all_fields if -30 < f.dec < 60]
    shots = []

    def add(start: dt.datetime, code: str, **more) -> None:
        base = {"start": start, "imgtypecode": code, "programid": 1, "field": 0, "filter": None, "led": None}
        shots.append(base | {"ra": 10.0, "dec": 33.0, "exptime": 0.0} | more)

    for n in range(plan.bias):
        add(morning + dt.timedelta(minutes=10, seconds=20 * n), "b")
    for n in range(plan.flats):
        led = survey.filters[n % 3].leds[0]
        add(
            morning + dt.timedelta(minutes=30, seconds=40 * n),
            "f",
            filter=survey.filters[n % 3],
            led=led,
            exptime=8.0,
        )
    pause = dt.timedelta(0)
    for n in range(plan.science):
        pause += dt.timedelta(minutes=47) if n == plan.science // 2 else dt.timedelta(0)
        where = fields[(n // 2) % len(fields)]
        add(
            morning + dt.timedelta(hours=3, minutes=5.0 * n) + pause,
            "o",
            filter=survey.filters[n % 3],
            exptime=30.0,
            field=where.id,
            ra=where.ra,
            dec=where.dec,
            programid=1 + n % 3,
        )
    for n in range(plan.engineering):
        add(
            morning + dt.timedelta(hours=2, minutes=20 + 3 * n),
            "c",
            filter=survey.filters[1],
            exptime=5.0,
            programid=0,
            ra=20.0,
            dec=30.0,
        )
    return sorted(shots, key=lambda shot: shot["start"])


def _add_exposure(settings, night: Night, plan: Plan, shot, rng, ccdids, data: dict[int, bytes]) -> None:
    survey = load_survey(night.camera.survey, settings.include)
    filter_, start = shot["filter"], shot["start"]
    expid = ExposureId.of(start, survey.night_zero)
    epoch = FileFracDay.of(start)
    code = filter_.code if filter_ else survey.dark_filter_code
    on_sky = survey.image_type(shot["imgtypecode"]).sky
    elevation = 55.0 + 10 * np.sin(start.timestamp() / 9000)
    common = {
        "expid": int(expid), "nid": expid.nid, "night": plan.night, "obsjd": jd(start), "ra": shot["ra"],
        "dec": shot["dec"], "field": shot["field"], "fid": filter_.fid if filter_ else 0, "filtercode": code,
        "imgtypecode": shot["imgtypecode"], "programid": shot["programid"],
        "is_science": survey.is_science(shot["imgtypecode"], shot["programid"]),
    }  # fmt: skip
    program = survey.program(shot["programid"])
    night.tables["raw_exposures"].append(common | {
        "camera": night.camera.name, "obsdate": start, "obsmjd": mjd(start), "exptime": shot["exptime"],
        "rotator": 0.0, "azimuth": 180.0, "elevation": elevation,
        "airmass": 1 / np.sin(np.radians(elevation)) if on_sky else None,
        "imgtype": survey.image_type(shot["imgtypecode"]).name, "led": shot["led"], "moonillf": 0.2,
        "moonalt": -12.0, "humidity": 31.0, "temperature": 14.0, "filefracday": str(epoch),
        "n_ccds": len(ccdids), "n_ccds_expected": night.camera.n_ccds, "ipac_gid": program.group,
        "ipac_pub_date": program.public_from(start), "first_received": start + RECEIVED,
        "last_received": start + RECEIVED,
    })  # fmt: skip
    for ccdid in ccdids:
        name = RawFileName(epoch, shot["field"], code, ccdid, shot["imgtypecode"])
        content = data.get(ccdid, str(name).encode())
        if ccdid in data:
            night.files[name.path] = content
        for quadrant in night.camera.quadrants_of(ccdid):
            _add_quadrant(night, common, start, quadrant, name, content, rng)


def _add_quadrant(night: Night, common, start, quadrant, name: RawFileName, content: bytes, rng) -> None:
    sha, detector = hashlib.sha256(content).hexdigest(), quadrant.detector
    row = common | {
        "rcid": quadrant.rcid,
        "ra": (common["ra"] + quadrant.centre_east_arcsec / 3600 / np.cos(np.radians(common["dec"]))) % 360,
        "dec": common["dec"] + quadrant.centre_north_arcsec / 3600,
    }
    night.tables["raw_quadrants"].append(row | {
        "ccdid": quadrant.ccdid, "qid": quadrant.qid, "amp_id": quadrant.amplifier.amp_id,
        "amp_name": quadrant.amplifier.name, "gain": detector.gain, "readnoise": detector.read_noise,
        "saturation": detector.saturation, "filename": str(name), "path": name.path, "hdu": quadrant.qid,
        "sha256": sha, "file_size": max(len(content), 2880), "received_at": start + RECEIVED,
    })  # fmt: skip
    level = {"b": 0.3, "f": 21000.0}.get(common["imgtypecode"], 180.0 + 130 * common["fid"])
    noise = detector.read_noise / detector.gain
    overscan = float(np.float32(noise * rng.normal(1, 0.01)))
    gain = float(np.float32(detector.gain))
    keep = ("expid", "rcid", "night", "obsjd", "ra", "dec", "imgtypecode", "fid")
    night.tables["raw_quality"].append({name: row[name] for name in keep} | {
        "bias_level": 1000.0 + 12 * quadrant.rcid + rng.normal(0, 0.6), "bias_drift": rng.uniform(0.5, 2),
        "overscan_noise": overscan, "read_noise": overscan * gain, "level": level * rng.normal(1, 0.02),
        "noise": float(np.hypot(noise, np.sqrt(level / gain))), "gradient": 0.03 * level,
        "saturated_fraction": 1e-5, "zero_fraction": 0.0, "bright_fraction": 0.01, "sha256": sha,
        "processing_version": "0123456789ab",
    })  # fmt: skip


def _refusal(plan: Plan, number: int, code: str) -> dict:
    morning = dt.datetime.combine(ObservingNight.parse(plan.night).date, dt.time(4), tzinfo=dt.UTC)
    name = RawFileName(FileFracDay.of(morning + dt.timedelta(minutes=number)), 3, "zr", 1, "o")
    return {
        "filename": str(name), "sha256": hashlib.sha256(f"{code}{number}".encode()).hexdigest(),
        "file_size": 123_456, "night": plan.night, "code": code,
        "reason": f"the file is {code.replace('_', ' ')}: 123456 bytes are no multiple of 2880",
        "remedy": "ask for the file to be delivered again", "facts": '{"bytes": 123456}',
        "path": f"quarantine/{name}.{number}", "refused_at": morning + RECEIVED,
    }  # fmt: skip


def _pixels(camera: Camera, rng) -> dict[int, bytes]:
    """Return one multi-extension raw file per CCD: sky, a bright star in every quadrant, overscan."""
    shape, files = camera.quadrant, {}
    y, x = np.mgrid[0 : shape.ny, 0 : shape.nx]
    for ccdid in camera.ccdids:
        hdus = [fits.PrimaryHDU()]
        overscans = []
        for quadrant in camera.quadrants_of(ccdid):
            bias = 1000 + 12 * quadrant.rcid
            image = rng.normal(bias + 300, 8, (shape.ny, shape.nx))
            for flux in (4e4, 8e3, 2e3, 900):
                place = rng.uniform(0.1, 0.9, 2) * (shape.ny, shape.nx)
                image += flux * np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / 18)
            hdus.append(_compressed(np.clip(image, 0, 65535)))
            overscans.append(_compressed(rng.normal(bias, 2, (shape.ny, shape.overscan))))
        stream = io.BytesIO()
        fits.HDUList([*hdus, *overscans]).writeto(stream)
        files[ccdid] = stream.getvalue()
    return files


def _compressed(image: np.ndarray) -> fits.CompImageHDU:
    return fits.CompImageHDU(np.round(image).astype(np.uint16), compression_type="RICE_1")
