"""Real images of one field, seen several times, as pairs that our differencing takes.

Frames without a WCS are registered on their own stars: an affine map to one frame becomes a tangent plane of
pixels of a made-up size, so that reference, warp and subtraction run as they do on the sky.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.spatial import cKDTree

from zsds_tasks.pixels.background import BackgroundConfig, measure_background
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.warp import CoarseMap, warp, warp_linear
from zsds_tasks.pixels.zogy import ZogyConfig
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.candidates.measure import MeasureConfig
from zsds_tasks.science.difference.align import AlignConfig, StarList
from zsds_tasks.science.difference.background import LevelConfig
from zsds_tasks.science.difference.engines import EngineConfig
from zsds_tasks.science.difference.subtract import DifferenceConfig, Side
from zsds_tasks.science.photometry.psf_sources import (
    PointSources,
    PointSourcesConfig,
    box_flags,
    measure_point_sources,
)
from zsds_tasks.science.reference.build import BuildConfig, Epoch, Reference, build_reference
from zsds_tasks.settings import REPOSITORY
from zsds_tasks.sky.pixel_map import pixel_map
from zsds_tasks.sky.wcs import Wcs
from zsds_tasks.steps.exposure.chain import Chain
from zsds_tasks.steps.exposure.configuration import load_exposure_config
from zsds_tasks.steps.exposure.given import Buffers

ZERO_POINT = 26.275
"""Of the reference, and so of the base frame: no photometric standard is at hand."""
SCALE_ARCSEC = 1.01
SEEN = ("background", "blemishes", "point_sources")
BACKGROUND = BackgroundConfig(cell=64, patch_sigma=5.0)
DIFFERENCE = DifferenceConfig(
    align=AlignConfig(brightest_mag=10.0, faintest_mag=18.5, lonely_px=6.0, sigma_floor_px=0.03),
    level=LevelConfig(cell_px=128),
)
DECAM = DIFFERENCE.model_copy(
    update={
        "align": DIFFERENCE.align.model_copy(update={"faintest_mag": 21.0, "least_matches": 8}),
        "engine": EngineConfig(zogy=ZogyConfig(tile_px=256)),
    }
)
MEASURE = MeasureConfig()


@dataclass(frozen=True)
class Seen:
    """One frame after the image stages of the chain.

    Parameters
    ----------
    name : str
    mjd : float
        Middle of the exposure where the header knows it.
    image, mask : numpy.ndarray (ny, nx)
        DN without sky; bits.
    noise : Mesh
    gain : float
    points : PointSources
    wcs : Wcs
    zero_point : float
        So that magnitudes are those of the base frame.
    saturation : float
        DN over the sky.
    """

    name: str
    mjd: float
    image: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)
    noise: Mesh = field(repr=False)
    gain: float
    points: PointSources = field(repr=False)
    wcs: Wcs = field(repr=False)
    zero_point: float
    saturation: float

    @property
    def depth(self) -> float:
        """5 sigma of a point source, mag."""
        ny, nx = self.image.shape
        area = self.points.psf.n_eff(nx / 2, ny / 2)
        return float(self.zero_point - 2.5 * np.log10(5 * np.median(self.noise.values) * np.sqrt(area)))


def see(
    pixels: np.ndarray, gain: float, saturation: float, name: str, mjd: float = 0.0, base: Seen | None = None
) -> Seen:
    """Run the image stages on pixels (ny, nx) that somebody else has reduced, and register them to a base."""
    image = np.ascontiguousarray(pixels, np.float32)
    mask = np.where(image >= saturation, MaskBit.SATURATED.flag, 0).astype(np.uint16)
    mask[~np.isfinite(image)] |= np.uint16(MaskBit.NAN.flag)
    config = load_exposure_config(REPOSITORY / "include")
    config = config.model_copy(update={"background": config.background.model_copy(update={"cell": 64})})
    chain = Chain(_given(name, gain, saturation), _no_catalogs(), config, Buffers.of(image.shape))
    chain.enter(image, mask, saturation).run(SEEN)
    level = float(np.median(chain.background.level.values))
    return registered(
        name, mjd, chain.image.copy(), chain.mask.copy(), chain.background.noise, gain, chain.points,
        saturation - level, base,
    )  # fmt: skip


def registered(name, mjd, image, mask, noise, gain, points, saturation, base) -> Seen:
    """A frame with the WCS and zero point that its stars give against a base."""
    if base is None:
        matrix, offset, zero_point = np.eye(2), np.zeros(2), ZERO_POINT
    else:
        matrix, offset, ratio = affine(points, base.points)
        zero_point = base.zero_point - 2.5 * np.log10(ratio)
    wcs = plane_of(matrix, offset, image.shape)
    return Seen(name, mjd, image, mask, noise, gain, points, wcs, float(zero_point), saturation)


def affine(
    points: PointSources, base: PointSources, brightest: int = 250
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return matrix (2, 2), offset (2) and flux ratio that take one list's places and fluxes to another's."""
    here, there = (_brightest(p, brightest) for p in (points, base))
    shifts = (there[0][None, :80] - here[0][:80, None]).reshape(-1, 2)
    agreeing = cKDTree(shifts).query_ball_point(shifts, 1.5)
    offset, matrix = np.median(shifts[max(agreeing, key=len)], axis=0), np.eye(2)
    for radius in (3.0, 1.5, 1.0, 0.7, 0.5):
        distance, near = cKDTree(there[0]).query(here[0] @ matrix.T + offset)
        used = distance < radius
        terms = np.column_stack([here[0][used], np.ones(used.sum())])
        solved = np.linalg.lstsq(terms, there[0][near[used]], rcond=None)[0]
        matrix, offset = solved[:2].T, solved[2]
    return matrix, offset, float(np.median(there[1][near[used]] / here[1][used]))


def _brightest(points, n):
    rows = np.flatnonzero(~points.is_hidden)
    rows = rows[np.argsort(-points.flux[rows])[:n]]
    return np.column_stack([points.xpos, points.ypos])[rows], points.flux[rows]


def plane_of(matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, ...]) -> Wcs:
    """Return a tangent plane in which base pixels are matrix @ pixels + offset, its x to the west."""
    middle = np.array([(shape[1] + 1) / 2, (shape[0] + 1) / 2])
    degrees = np.diag([-SCALE_ARCSEC, SCALE_ARCSEC]) / 3600
    crpix, cd = np.linalg.solve(matrix, middle - offset), degrees @ matrix
    plain = ((0.0, 0.0), (1.0, 0.0)), ((0.0, 1.0), (0.0, 0.0))
    return Wcs((180.0, 0.0), tuple(crpix), tuple(map(tuple, cd)), *plain)


def stacked(frames: Sequence[Seen]) -> Reference:
    """Co-add frames into a reference."""
    epochs = [
        Epoch(
            k, f.wcs, f.image.shape, f.zero_point, f.noise, f.gain,
            f.points.psf.fwhm * SCALE_ARCSEC, f.depth, lambda f=f: (f.image, f.mask),
        )
        for k, f in enumerate(frames)
    ]  # fmt: skip
    return build_reference(epochs, "r", BuildConfig(zero_points={"r": ZERO_POINT}))


def pair_of(reference: Reference, frame: Seen, gain: float | None = None) -> tuple[Side, Side]:
    """Science image and reference on its grid."""
    chart = CoarseMap.of(pixel_map(frame.wcs, reference.wcs), frame.image.shape)
    there = warp(
        reference.image, np.zeros(reference.shape, np.uint16), 0, chart, variance=reference.uncertainty**2
    )
    coverage = warp_linear(reference.coverage.astype(np.float32), chart)
    sigma = np.sqrt(there.variance).astype(np.float32)
    return science_side(frame), side_of(there.image, reference.gain, reference.zero_point, coverage, sigma)


def science_side(frame: Seen) -> Side:
    """A frame as science image."""
    stars = star_list(frame.points, frame.mask, frame.zero_point)
    return Side(
        frame.image, frame.noise, frame.gain, frame.points.psf, frame.zero_point, stars, frame.mask
    )  # fmt: skip


def side_of(image, gain, zero_point, coverage=None, uncertainty=None, mask=None) -> Side:
    """A reference on the grid of a science image, its noise, PSF and stars measured there."""
    holes = ~np.isfinite(image) if mask is None else (mask & UNUSABLE) != 0
    bits = np.where(holes, UNUSABLE, 0).astype(np.uint16)
    filled = np.where(holes, 0, image).astype(np.float32)
    noise = measure_background(filled.copy(), bits, UNUSABLE, BACKGROUND).noise
    points = measure_point_sources(filled, bits, noise, gain, PointSourcesConfig())
    stars = star_list(points, bits, zero_point)
    return Side(
        image,
        noise,
        gain,
        points.psf,
        zero_point,
        stars,
        mask=mask,
        coverage=coverage,
        uncertainty=uncertainty,
    )


def star_list(points: PointSources, mask: np.ndarray, zero_point: float) -> StarList:
    """Sources as the alignment takes them."""
    mag = zero_point - 2.5 * np.log10(np.maximum(points.flux, 1e-3))
    usable = ((box_flags(mask, points.xpos, points.ypos) & UNUSABLE) == 0) & ~points.is_hidden
    is_star = (np.abs(points.sharp) < 0.1 * points.psf.fwhm).astype(float)
    return StarList(points.xpos, points.ypos, points.flux, points.sigflux, mag, is_star, usable)


def saao_paths(data: Path) -> list[tuple[float, Path]]:
    """MJD of the middle of the exposure and path of every frame of the bulge field, in order of time."""
    rows = []
    for path in (data / "images" / "saao_kb13475").glob("*.fits.fz"):
        header = fits.getheader(path, 1)
        rows.append((header["MJD-OBS"] + header["EXPTIME"] / 172_800, path))
    return sorted(rows)


def see_saao(mjd: float, path: Path, base: Seen | None) -> Seen:
    """One frame of the bulge field."""
    pixels, header = fits.getdata(path, 1), fits.getheader(path, 1)
    return see(pixels, header["GAIN"], 60_000.0, path.name.split(".")[0], mjd, base)


def see_decam(data: Path, name: str) -> Seen:
    """One stamp of DECam, on the grid of the others; its sky is subtracted already."""
    pixels, header = fits.getdata(_stamp(data, name)), fits.getheader(_stamp(data, name))
    # With a sky of 1,000 DN under it no pixel is negative; the stage takes it off again.
    return see(pixels + 1000.0, header["GAIN"], header["ESATUR"], name)


def _stamp(data: Path, name: str) -> Path:
    return data / "images" / "decam_i_stamps" / f"DEC-OBS{name}.mini.fits.gz"


def decam_pairs(data: Path) -> Iterator[tuple[str, Side, Side]]:
    """Frames of the broader epoch less those of the sharper; 04c has too few stars for a PSF."""
    for new, ref in (("04a", "18b"), ("04b", "18c"), ("04b", "18a")):
        science, reference = see_decam(data, new), see_decam(data, ref)
        side = science_side(reference)
        yield f"{new} less {ref}", science_side(science), side


def _given(name, gain, saturation):
    from real_images import given_of

    return given_of(name, gain, saturation)


def _no_catalogs():
    from real_images import no_catalogs

    return no_catalogs()
