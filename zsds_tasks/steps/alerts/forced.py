"""Forced photometry of a packet: the flux at its place on difference images of the last weeks.

Which images: those that cover the place, of nights before, one per night and filter, the newest, of
programmes that the packet's readers may see. Each is opened once for all candidates of an exposure, and of
its pixels only the tiles with a candidate are decoded. What is read of it is too little for its checksum.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.lakehouse.near import read_near
from zsds_tasks.parallel import map_ordered
from zsds_tasks.pixels.compressed_rows import open_rows
from zsds_tasks.pixels.fits import scan
from zsds_tasks.products.packets import MISSING_FLUX
from zsds_tasks.science.alerts.history import covering
from zsds_tasks.science.forced.measure import UNREADABLE, ForcedConfig, measure_forced
from zsds_tasks.settings import Settings
from zsds_tasks.sky.healpix import unit_vectors
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.sky.wcs import from_header
from zsds_tasks.steps.alerts.configuration import AlertsConfig
from zsds_tasks.steps.alerts.facts import CORNERS, OF_IMAGES, QUALITY, ImageFacts
from zsds_tasks.steps.references.rows import SOURCES
from zsds_tasks.steps.science_frames import wcs_cards
from zsds_tasks.steps.stored import read_stored
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.filenames import ScienceSuffix

Row = Mapping[str, Any]
Floats = NDArray[np.float64]
REMEDY = "have the difference made again, with its products"
OF_QUALITY = {
    "sciinpseeing": "fwhm", "scibckgnd": "sky", "scisigpix": "noise", "adpctdif1": "rms_east",
    "adpctdif2": "rms_north",
}  # fmt: skip
"""Published name: column of image_quality."""
OF_SOURCES = {
    "ranr": "ra", "decnr": "dec", "magnr": "mag", "sigmagnr": "sigmag", "chinr": "chi", "sharpnr": "sharp",
}  # fmt: skip
"""Published name: column of reference_sources."""
CARRIED = ("field", "rcid", "fid", "pid", "rfid", "diffmaglim", "programid")
NOTHING = pa.table({name: pa.array([], pa.float64()) for name in ("ra", "dec")})


@dataclass(frozen=True)
class ForcedWork:
    """Places to be measured on one difference image.

    Parameters
    ----------
    image : mapping
        Of difference_images: pid, path, products.
    ra, dec : tuple of float, degrees
    gain : float
        Electrons per DN.
    """

    image: Row
    ra: tuple[float, ...]
    dec: tuple[float, ...]
    gain: float


def forced_photometry(
    lakehouse: Lakehouse, settings: Settings, triggers: pa.Table, facts: ImageFacts, config: AlertsConfig
) -> pa.Table:
    """Measure the places of an exposure's candidates on earlier difference images.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    triggers : pyarrow.Table (n)
        Of candidates, one exposure's.
    facts : ImageFacts
        Of the images of the last weeks around.
    config : AlertsConfig

    Returns
    -------
    pyarrow.Table
        The fields of fp_hist, with nid and the place measured, ra and dec. The same lake gives the same rows.

    Raises
    ------
    TransientError
        If the storage fails. An image that is gone or broken is no such thing: its rows say so.
    """
    chosen = chosen_images(triggers, facts, config)
    if not chosen:
        return NOTHING
    ra, dec = (triggers[name].to_numpy() for name in ("ra", "dec"))
    camera = load_camera(settings.camera, lakehouse.include)
    work = [
        ForcedWork(
            {name: facts.differences[pid][name] for name in ("pid", "path", "products")},
            tuple(ra[rows].tolist()),
            tuple(dec[rows].tolist()),
            camera.quadrants[facts.differences[pid]["rcid"]].detector.gain,
        )
        for pid, rows in chosen.items()
    ]
    n_places = sum(len(one.ra) for one in work)
    measured = map_ordered(
        partial(measure_image, settings=settings, config=config.forced),
        work,
        workers=1 if n_places < config.parallel_over else None,
        settings=settings,
    )
    beside = _Beside(lakehouse, triggers, facts, config.forced_reference_arcsec)
    rows = []
    for (pid, places), (flux, sigma, status) in zip(chosen.items(), measured, strict=True):
        common = beside.of_image(pid)
        for k, number in enumerate(places):
            values = {"forcediffimflux": flux[k], "forcediffimfluxunc": sigma[k], "procstatus": status[k]}
            place = {"ra": float(ra[number]), "dec": float(dec[number])}
            rows.append(common | beside.source(pid, number) | values | place)
    return pa.Table.from_pylist(rows)


def chosen_images(triggers: pa.Table, facts: ImageFacts, config: AlertsConfig) -> dict[int, list[int]]:
    """Return the images to be measured, in order of pid, and which of the triggers on each."""
    nid = int(triggers["nid"][0].as_py())
    visible = config.history.visible.get(int(triggers["programid"][0].as_py()), ())
    images = [
        (facts.images[pid]["nid"], row["fid"], row["obsjd"], pid)
        for pid, row in facts.differences.items()
        if row["path"] and row["programid"] in visible and facts.images[pid]["nid"] < nid
    ]
    images.sort(key=lambda image: (image[2], image[3]), reverse=True)
    if not images:
        return {}
    corners = pa.table({name: [facts.images[pid][name] for *_, pid in images] for name in CORNERS})
    places = unit_vectors(triggers["ra"].to_numpy(), triggers["dec"].to_numpy())
    chosen: dict[int, list[int]] = defaultdict(list)
    for number, inside in enumerate(covering(places, corners)):
        newest: dict[tuple[int, int], int] = {}
        for k in inside:
            night, fid, _, pid = images[k]
            newest.setdefault((night, fid), pid)
        for pid in newest.values():
            chosen[pid].append(number)
    return dict(sorted(chosen.items()))


def measure_image(
    work: ForcedWork, settings: Settings, config: ForcedConfig, lakehouse: Lakehouse | None = None
) -> tuple[list[float], list[float], list[str]]:
    """Return fluxes, errors (DN, or -99999) and codes of the places on one difference image."""
    lakehouse = lakehouse or open_lakehouse(settings)
    n = len(work.ra)
    try:
        psf = _psf(lakehouse, work.image)
        storage, path = lakehouse.storage, str(work.image["path"])
        with storage.open_read(path) as stream:
            rows = open_rows(stream, storage.size(path), subject=path)
            wcs = from_header(wcs_cards(rows.header), subject=path)
            x, y = (
                np.asarray(p, np.float64) - 1 for p in wcs.sky_to_pixel(np.array(work.ra), np.array(work.dec))
            )
            near = [np.floor(p + 0.5).astype(np.int64) for p in (x, y)]
            image = rows.read_around(near[0], near[1], config.half_px)
            found = measure_forced(image, psf, x, y, work.gain, config)
    except (UnusableInputError, FileNotFoundError):
        return [MISSING_FLUX] * n, [MISSING_FLUX] * n, [UNREADABLE] * n
    known = np.isfinite(found.flux)
    flux, sigma = (np.where(known, v, MISSING_FLUX).tolist() for v in (found.flux, found.sigma))
    return flux, sigma, list(found.status)


def _psf(lakehouse: Lakehouse, image: Row) -> NDArray[np.float32]:
    suffix = ScienceSuffix.DIFFERENCE_PSF.value
    data = read_stored(lakehouse, image, suffix, remedy=REMEDY)
    hdu = scan(data)[0]
    ny, nx = hdu.header.integer("NAXIS2"), hdu.header.integer("NAXIS1")
    pixels = np.frombuffer(data, ">f4", count=ny * nx, offset=hdu.data_start)
    return pixels.reshape(ny, nx).astype(np.float32)


class _Beside:
    """What forced photometry says of an image, and of the source of its reference next to a place."""

    def __init__(
        self, lakehouse: Lakehouse, triggers: pa.Table, facts: ImageFacts, radius_arcsec: float
    ) -> None:
        self.facts, self.radius_arcsec = facts, radius_arcsec
        self.ra, self.dec = (triggers[name].to_numpy() for name in ("ra", "dec"))
        quality = facts.read(QUALITY, ["expid", "rcid", *OF_QUALITY.values()], {})
        self.quality = {(row["expid"], row["rcid"]): row for row in quality.to_pylist()}
        rfids = sorted({row["rfid"] for row in facts.differences.values()})
        columns = ["rfid", "version", *OF_SOURCES.values()]
        places = (self.ra, self.dec, radius_arcsec, columns, {"rfid": rfids})
        self.sources: dict[tuple[int, int], list[Row]] = defaultdict(list)
        for row in read_near(lakehouse.table(SOURCES), *places).to_pylist():
            self.sources[row["rfid"], row["version"]].append(row)

    def of_image(self, pid: int) -> dict[str, Any]:
        image, science = self.facts.differences[pid], self.facts.images[pid]
        quality = self.quality.get((image["expid"], image["rcid"]), {})
        row = {name: image[name] for name in CARRIED} | {"jd": image["obsjd"]}
        row |= {name: science[column] for name, column in OF_IMAGES.items()}
        return row | {name: quality.get(column) for name, column in OF_QUALITY.items()}

    def source(self, pid: int, number: int) -> dict[str, Any]:
        image = self.facts.differences[pid]
        sources: Sequence[Row] = self.sources.get((image["rfid"], image["rfversion"]), ())
        nothing = dict.fromkeys(["distnr", *OF_SOURCES]) | {"ranr": MISSING_FLUX, "decnr": MISSING_FLUX}
        if not sources:
            return nothing
        ra, dec = (np.array([row[name] for row in sources]) for name in ("ra", "dec"))
        distance = separation_deg(ra, dec, float(self.ra[number]), float(self.dec[number])) * 3600
        nearest = int(np.argmin(distance))
        if distance[nearest] > self.radius_arcsec:
            return nothing
        row = sources[nearest]
        return {name: row[column] for name, column in OF_SOURCES.items()} | {
            "distnr": float(distance[nearest])
        }
