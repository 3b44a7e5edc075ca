"""A tiny camera and its raw frames: seeded, small, of odd sizes, and independent of the simulator."""

import dataclasses
import datetime as dt
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from astropy.io import fits
from astropy.io.fits.hdu.base import _ValidHDU

from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.lakehouse.storage import TEMPORARY_SUFFIX
from zsds_tasks.science.raw import RawRules, VerificationConfig
from zsds_tasks.settings import Settings
from zsds_tasks.sky.horizon import Observer, airmass, horizontal
from zsds_tasks.steps.incoming import LOCK_NAME, IncomingConfig
from zsds_tasks.steps.raw import IngestSummary, RawConfig, ingest
from zsds_tasks.survey.camera import Camera, Quadrant, load_camera
from zsds_tasks.survey.fields import Field
from zsds_tasks.survey.filenames import RawFileName
from zsds_tasks.survey.headers import HeaderKeyword, load_headers
from zsds_tasks.survey.identifiers import ExposureId
from zsds_tasks.survey.nights import FileFracDay, jd, mjd
from zsds_tasks.survey.survey import Survey, load_survey

REPOSITORY = Path(__file__).resolve().parents[1]
NIGHT_START = dt.datetime(2025, 10, 12, 4, 30, tzinfo=dt.UTC)  # an evening: field 345 +32 stands high
NOW = dt.datetime(2025, 10, 12, 20, 0, tzinfo=dt.UTC)
FIELD = Field(id=5, ra=345.0, dec=32.0)
NX, NY, OVERSCAN = 37, 41, 11
TINY_CAMERA = f"""
name: tiny
description: Two CCDs of four odd-sized quadrants, for tests.
survey: ztf
fields: mini
headers: ztf
observatory: {{origin: Zwicky Transient Facility, telescope: P48, instrument: ZTF/TINY}}
site: {{name: Palomar, mpc_code: I41, latitude_deg: 33.357278, longitude_deg: -116.859861, elevation_m: 1707,
       noon_utc_hour: 20}}
exposure: {{standard_s: 30, readout_s: 8, cycle_s: 45}}
mosaic: {{columns: 2, rows: 1, pixel_scale_arcsec: 1.012, column_gap_arcsec: 60.0, row_gap_arcsec: 60.0}}
quadrant: {{nx: {NX}, ny: {NY}, overscan: {OVERSCAN}}}
pixel_axes: {{x: west, y: south}}
amplifiers:
  - {{qid: 1, position: NE, amp_id: 0, name: h, read_x: 1, read_y: 1}}
  - {{qid: 2, position: NW, amp_id: 1, name: g, read_x: -1, read_y: 1}}
  - {{qid: 3, position: SW, amp_id: 2, name: f, read_x: -1, read_y: -1}}
  - {{qid: 4, position: SE, amp_id: 3, name: e, read_x: 1, read_y: -1}}
detector: {{gain: 6.2, read_noise: 10.0, saturation: 58000.0, dark_current: 0.0,
           linearity: {{a: 0.0, b: 0.0}}}}
channels: {{3: {{gain: 6.4, read_noise: 11.0}}}}
"""


def tiny_include(folder: Path) -> Path:
    """Copy the declarations into a folder and add the tiny camera; return it."""
    include = folder / "include"
    for part in ("config/cameras", "config/survey", "config/headers", "schemas"):
        shutil.copytree(REPOSITORY / "include" / part, include / part)
    for stage in ("raw", "quality", "calibration"):
        shutil.copy(REPOSITORY / "include" / "config" / f"{stage}.yaml", include / "config")
    (include / "config" / "cameras" / "tiny.yaml").write_text(TINY_CAMERA, encoding="utf-8")
    return include


def tiny_rules(include: Path, now: dt.datetime = NOW) -> RawRules:
    return RawRules.load("tiny", include, VerificationConfig(), now)


@dataclasses.dataclass(frozen=True)
class FrameBuilder:
    """Makes raw files of one camera.

    Parameters
    ----------
    camera, survey, keywords :
        As declared.
    """

    camera: Camera
    survey: Survey
    keywords: tuple[HeaderKeyword, ...]

    @classmethod
    def of(cls, camera: str, include: Path) -> "FrameBuilder":
        found = load_camera(camera, include)
        contract = load_headers(found.headers, include)
        return cls(found, load_survey(found.survey, include), contract.keywords)

    def build(
        self,
        start: dt.datetime = NIGHT_START,
        ccdid: int = 1,
        *,
        imgtypecode: str = "o",
        filtercode: str = "zr",
        programid: int = 1,
        seed: int = 0,
        changes: dict[str, Any] | None = None,
        quadrant_changes: dict[str, Any] | None = None,
        shape: tuple[int, int] | None = None,
        hdus: slice | None = None,
        checksum: bool = True,
        plain: bool = False,
        signal: float | None = None,
    ) -> tuple[str, bytes]:
        """Return name and bytes of one file; `signal` is the light in DN, by default 100 on sky and else 0.

        `changes` edits primary keywords after everything is consistent (None removes one), `quadrant_changes`
        those of the second image; `shape` is that of the second image; `hdus` keeps some HDUs.
        """
        is_sky = self.survey.image_type(imgtypecode).sky
        name = RawFileName(
            FileFracDay.of(start),
            FIELD.id if is_sky else 0,
            filtercode,
            ccdid,
            imgtypecode,
            self.survey.file_prefix,
        )
        values = self._values(name, start, programid)
        primary = fits.PrimaryHDU()
        self._write(primary.header, values, ("exposure", "ccd"), changes or {})
        random = np.random.default_rng([seed, ccdid])
        images, overscans = [], []
        for quadrant in self.camera.quadrants_of(ccdid):
            second = quadrant.qid == 2
            size = shape if shape and second else (self.camera.quadrant.ny, self.camera.quadrant.nx)
            level = 1000.0 + 10.0 * quadrant.qid
            sigma = quadrant.detector.read_noise / quadrant.detector.gain
            light = 100.0 * is_sky if signal is None else signal
            image = self._image(random.normal(level + light, 2 * sigma, size), plain=plain)
            own = self._detector(quadrant)
            self._write(image.header, own, ("quadrant",), (quadrant_changes or {}) if second else {})
            images.append(image)
            strip = random.normal(level, sigma, (self.camera.quadrant.ny, self.camera.quadrant.overscan))
            overscans.append(self._image(strip, plain=plain))
        file = fits.HDUList([primary, *images, *overscans][hdus or slice(None)])
        stream = io.BytesIO()
        # astropy writes the time of day beside its checksums; the same arguments must give the same bytes.
        with mock.patch.object(_ValidHDU, "_get_timestamp", return_value="2025-10-12T00:00:00"):
            file.writeto(stream, checksum=checksum, output_verify="ignore")
        return str(name), stream.getvalue()

    @staticmethod
    def _detector(quadrant: Quadrant) -> dict[str, Any]:
        amplifier, detector = quadrant.amplifier, quadrant.detector
        return {
            "ccd_id": quadrant.ccdid, "qid": quadrant.qid, "rcid": quadrant.rcid, "amp_id": amplifier.amp_id,
            "amp_name": amplifier.name, "gain": detector.gain, "readnoise": detector.read_noise,
            "dark_current": detector.dark_current, "saturation": detector.saturation,
        }  # fmt: skip

    def _values(self, name: RawFileName, start: dt.datetime, programid: int) -> dict[str, Any]:
        site = self.camera.site
        observer = Observer(site.latitude_deg, site.longitude_deg, site.elevation_m)
        hour_angle, azimuth, altitude = (
            float(v) for v in horizontal(FIELD.ra, FIELD.dec, mjd(start), observer)
        )
        kind = self.survey.image_type(name.imgtypecode)
        is_dark = name.filtercode == self.survey.dark_filter_code
        exptime = 0.0 if kind.name == "bias" else 30.0
        identifier = ExposureId.of(start, self.survey.night_zero)
        values = dict(self.camera.observatory.model_dump()) | {
            "field": name.field, "programid": programid, "nid": identifier.nid, "expid": int(identifier),
            "imgtype": kind.name, "imgtypecode": kind.code, "ccdid": name.ccdid,
            "date_obs": _iso(start), "shutter_open": _iso(start), "obsjd": jd(start), "obsmjd": mjd(start),
            "shutter_closed": _iso(start + dt.timedelta(seconds=exptime)), "exptime": exptime,
            "telra": FIELD.ra + 0.002, "teldec": FIELD.dec - 0.002, "hour_angle": hour_angle,
            "azimuth": azimuth, "elevation": altitude, "rotator": 0.1,
            "pixel_scale": self.camera.mosaic.pixel_scale_arcsec,
            "filter": "dark" if is_dark else self.survey.filter_by_code(name.filtercode).header,
            "fid": 0 if is_dark else self.survey.filter_by_code(name.filtercode).fid,
            "moonalt": -12.5, "moonillf": 0.73, "humidity": 31.0, "is_too": False,
        }  # fmt: skip
        if kind.sky:
            values |= {"target_ra": FIELD.ra, "target_dec": FIELD.dec, "airmass": float(airmass(altitude))}
        if kind.name == "flat":
            led = self.survey.filter_by_code(name.filtercode).leds[0]
            values |= {"led": led, "led_wavelength": 640.0, "led_power": 5.0}
        return values

    def _write(
        self, header: fits.Header, values: dict[str, Any], scopes: tuple[str, ...], changes: dict[str, Any]
    ) -> None:
        for keyword in self.keywords:
            if keyword.scope in scopes and keyword.field in values:
                header[keyword.keyword] = (values[keyword.field], keyword.comment)
        for name, value in changes.items():
            if value is None:
                del header[name]
            else:
                header[name] = value

    @staticmethod
    def _image(pixels: Any, *, plain: bool) -> Any:
        counts = np.clip(np.rint(pixels), 0, 65535).astype(np.uint16)
        if plain:
            return fits.ImageHDU(counts)
        return fits.CompImageHDU(counts, compression_type="RICE_1", tile_shape=(1, counts.shape[1]))


def _iso(instant: dt.datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%f")


@dataclasses.dataclass(frozen=True)
class Installation:
    """A tiny camera's own lakehouse and incoming folder."""

    settings: Settings
    lakehouse: Lakehouse
    frames: FrameBuilder
    config: RawConfig

    @classmethod
    def at(cls, folder: Path) -> "Installation":
        tiny_include(folder)
        (folder / "var" / "incoming").mkdir(parents=True)
        return cls.existing(folder)

    @classmethod
    def existing(cls, folder: Path) -> "Installation":
        settings = Settings(var=folder / "var", include=folder / "include", camera="tiny", workers=1)
        config = RawConfig(incoming=IncomingConfig(settle_s=0.0))
        frames = FrameBuilder.of("tiny", settings.include)
        return cls(settings, open_lakehouse(settings), frames, config)

    @property
    def incoming(self) -> Path:
        return self.settings.incoming_folder

    def deliver(self, *files: tuple[str, bytes]) -> None:
        for name, data in files:
            (self.incoming / name).write_bytes(data)

    def ingest(self, now: dt.datetime = NOW, **options: Any) -> IngestSummary:
        options = {"config": self.config} | options
        return ingest(self.lakehouse, self.settings, now, **options)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return self.lakehouse.table(table).read().to_pylist()

    def delivered(self) -> list[str]:
        return sorted(path.name for path in self.incoming.iterdir() if path.name != LOCK_NAME)

    def stored(self, folder: str) -> dict[str, str]:
        """Return path -> SHA-256 of every finished file under raw/ or quarantine/ (reasons left out)."""
        storage = self.lakehouse.storage
        paths = [entry.path for entry in storage.list(folder)]
        return {
            path: hashlib.sha256(storage.read_bytes(path)).hexdigest()
            for path in paths
            if not path.endswith((TEMPORARY_SUFFIX, ".json"))
        }

    def assert_sound(self) -> None:
        """Every row has its file with its bytes, every file its row, every exposure its quadrants."""
        quadrants, refused = self.rows("raw_quadrants"), self.rows("quarantine")
        assert self.stored("raw") == {row["path"]: row["sha256"] for row in quadrants}
        assert self.stored("quarantine") == {row["path"]: row["sha256"] for row in refused}
        for row in refused:
            reason = json.loads(self.lakehouse.storage.read_bytes(f"{row['path']}.json"))
            assert (reason["code"], reason["sha256"]) == (row["code"], row["sha256"])
        ccds: dict[int, set[int]] = {}
        for row in quadrants:
            ccds.setdefault(row["expid"], set()).add(row["ccdid"])
        assert len(quadrants) == 4 * sum(len(found) for found in ccds.values())
        exposures = {row["expid"]: row["n_ccds"] for row in self.rows("raw_exposures")}
        assert exposures == {expid: len(found) for expid, found in ccds.items()}
