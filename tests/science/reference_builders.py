"""Small epochs of one field: stars, noise, seeing, dither, turn, distortion, clouds, defects."""

import dataclasses

import numpy as np

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.reference.build import Epoch
from zsds_tasks.sky.tangent import deproject
from zsds_tasks.sky.wcs import Wcs

SHAPE = (260, 240)
SCALE = 1.012
CENTRE = (210.0, 33.0)
ZERO_POINT = 26.275


@dataclasses.dataclass(frozen=True)
class Field:
    """Stars at places (deg) with fluxes in DN at zero point 26.275."""

    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray


def field(seed, n=40, faint=3e3, bright=1e5, spread_arcsec=95.0):
    random = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(n)))
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, side)] * 2), axis=-1).reshape(-1, 2)[:n]
    east, north = (grid * spread_arcsec + random.uniform(-3, 3, (n, 2))).T
    ra, dec = deproject(east, north, CENTRE)
    return Field(ra, dec, np.exp(random.uniform(np.log(faint), np.log(bright), n)))


def wcs_of(random, dither_arcsec=2.0):
    """South up and east right, as ZTF's quadrants lie, with some arcsec of distortion."""
    angle = np.radians(180 + random.normal() * 0.2)
    cd = SCALE / 3600 * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    half = SHAPE[0] / 2 * SCALE / 3600
    matrices = np.zeros((2, 4, 4))
    matrices[0, 1, 0] = matrices[1, 0, 1] = 1.0
    for i, j in ((2, 0), (1, 1), (0, 2), (3, 0), (0, 3)):
        matrices[:, i, j] = random.uniform(-1, 1, 2) * 1.0 / 3600 / half ** (i + j)
    ra, dec = deproject(*random.uniform(-dither_arcsec, dither_arcsec, 2), CENTRE)
    tuples = [tuple(map(tuple, m.tolist())) for m in (cd, *matrices)]
    return Wcs((float(ra), float(dec)), (SHAPE[1] / 2, SHAPE[0] / 2), *tuples)


def add_stars(image, wcs, stars, sigma_px, factor, gain, random):
    """Add Gaussian stars, DN, with their Poisson noise."""
    light = np.zeros_like(image, dtype=float)
    row, column = np.mgrid[: image.shape[0], : image.shape[1]]
    for x, y, flux in zip(*wcs.sky_to_pixel(stars.ra, stars.dec), stars.flux, strict=True):
        box = np.s_[max(0, int(y) - 14) : max(0, int(y) + 15), max(0, int(x) - 14) : max(0, int(x) + 15)]
        away = (column[box] - x + 1) ** 2 + (row[box] - y + 1) ** 2
        light[box] += flux * factor * np.exp(-away / (2 * sigma_px**2)) / (2 * np.pi * sigma_px**2)
    image += light + np.sqrt(light / gain) * random.normal(size=light.shape)


def make_epoch(
    seed, pid, stars, *, fwhm_px=2.2, sigma=5.0, zero_point=ZERO_POINT, gain=6.0, spoil=None, **kept
):
    """Make one epoch; `spoil(image, mask, random, wcs)` may change its pixels."""
    random = np.random.default_rng([seed, pid])
    wcs = wcs_of(random)
    image = sigma * random.normal(size=SHAPE)
    add_stars(image, wcs, stars, fwhm_px / 2.3548, 10 ** (-0.4 * (ZERO_POINT - zero_point)), gain, random)
    image, mask = image.astype(np.float32), np.zeros(SHAPE, np.uint16)
    if spoil:
        spoil(image, mask, random, wcs)
    depth = zero_point - 2.5 * np.log10(5 * sigma * np.sqrt(4 * np.pi) * fwhm_px / 2.3548)
    noise = Mesh.constant(sigma, SHAPE, 64)
    epoch = Epoch(
        pid=pid, wcs=wcs, shape=SHAPE, zero_point=zero_point, noise=noise, gain=gain,
        fwhm_arcsec=fwhm_px * SCALE, maglimit=depth, load=lambda: (image, mask),
    )  # fmt: skip
    return dataclasses.replace(epoch, **kept)


def make_epochs(seed, n, stars, **kept):
    """Make epochs in seeing of 1.9 to 2.6 px under clear and slightly cloudy skies."""
    random = np.random.default_rng(seed)
    return [
        make_epoch(
            seed, pid, stars,
            **({"fwhm_px": random.uniform(1.9, 2.6), "sigma": random.uniform(4, 8),
                "zero_point": ZERO_POINT - random.uniform(0, 0.3)} | kept),
        )
        for pid in range(n)
    ]  # fmt: skip


def defects(image, mask, random, wcs):
    """Flagged columns and hits with wild values, a flagged hole, and unflagged charge."""
    column = random.integers(20, SHAPE[1] - 20)
    image[:, column], mask[:, column] = 1e5, MaskBit.DEAD.flag
    for y, x in random.integers(10, 220, (20, 2)):
        image[y, x], mask[y, x] = 1e4, MaskBit.SPIKE.flag
    image[100:104, 50:54], mask[100:104, 50:54] = np.nan, MaskBit.NAN.flag
    mask[30:60, 30:60] |= MaskBit.DETECTION.flag
    for y, x in random.integers(10, 220, (10, 2)):
        image[y, x] += 3000.0
