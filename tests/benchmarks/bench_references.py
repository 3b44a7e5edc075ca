"""Resampling, stacking and whole references of full size: seconds and accuracy, beside other tools.

    python tests/benchmarks/bench_references.py [seed ...]                default: all of SEEDS
    python tests/benchmarks/bench_references.py --alone ...               without other tools

One thread. Epochs are drawn: Gaussian stars on a grid at known places, white noise, ZTF's scale, orientation
and distortion. SWarp and reproject are used where they are installed (apt-get install swarp; pip install
reproject, for this interpreter or that of REPROJECT_PYTHON).
"""
# ruff: noqa: T201 - a benchmark prints its table

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.ndimage import map_coordinates

from zsds_tasks.pixels.coadd import Coadd, StackNoise, coadd
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.warp import CoarseMap, Warped, warp
from zsds_tasks.products.masks import UNUSABLE
from zsds_tasks.science.reference.build import Epoch, build_reference
from zsds_tasks.science.reference.quality import measure_reference
from zsds_tasks.sky.pixel_map import north_up_grid, pixel_map
from zsds_tasks.sky.tangent import deproject
from zsds_tasks.sky.wcs import Wcs

SEEDS = (1901, 1902)
SHAPE = (3080, 3072)
SCALE, NOISE, GAIN, N = 1.012, 5.0, 6.0, 15
CENTRE = (150.0, 30.0)
DISTORTION_ARCSEC = 50.0


@dataclass(frozen=True)
class Star:
    """Places (deg) and fluxes (DN)."""

    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray


def stars_of(random, n_side=55) -> Star:
    """Stars 54 px apart, of 10^4 to 10^5.5 DN."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1450, 1450, n_side)] * 2), -1).reshape(-1, 2)
    east, north = (grid + random.uniform(-10, 10, grid.shape)).T
    return Star(*deproject(east, north, CENTRE), 10 ** random.uniform(4, 5.5, len(grid)))


def wcs_of(random, dither_arcsec=10.0) -> Wcs:
    """South up, with 50 arcsec of distortion at the corners that is the same in every epoch."""
    angle = np.radians(180 + 0.05 * random.normal())
    cd = SCALE / 3600 * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    half = SHAPE[0] / 2 * SCALE / 3600
    east, north = np.zeros((2, 4, 4))
    east[1, 0] = north[0, 1] = 1.0
    own = np.random.default_rng(7)
    for matrix in (east, north):
        for i, j in ((2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3)):
            matrix[i, j] = own.choice([-1, 1]) * DISTORTION_ARCSEC / 3600 / 7 / half ** (i + j)
    ra, dec = deproject(*random.uniform(-dither_arcsec, dither_arcsec, 2), CENTRE)
    tuples = [tuple(map(tuple, m.tolist())) for m in (cd, east, north)]
    return Wcs((float(ra), float(dec)), (SHAPE[1] / 2, SHAPE[0] / 2), *tuples)


def draw(wcs, stars, fwhm_px, random, noise=NOISE) -> np.ndarray:
    """Draw one epoch, DN; without Poisson noise."""
    image = np.zeros(SHAPE, np.float32)
    sigma, offset = fwhm_px / 2.3548, np.arange(-13, 14)
    xs, ys = wcs.sky_to_pixel(stars.ra, stars.dec)
    for x, y, flux in zip(xs - 1, ys - 1, stars.flux, strict=True):
        i, j = int(np.rint(y)), int(np.rint(x))
        if 13 <= i < SHAPE[0] - 13 and 13 <= j < SHAPE[1] - 13:
            down, across = (np.exp(-((offset + k - v) ** 2) / (2 * sigma**2)) for k, v in ((i, y), (j, x)))
            light = flux / (2 * np.pi * sigma**2) * np.outer(down, across)
            image[i - 13 : i + 14, j - 13 : j + 14] += light.astype(np.float32)
    if noise:
        image += noise * random.standard_normal(SHAPE, np.float32)
    return image


def score(image, wcs, stars) -> str:
    """Return errors of flux (mmag, scatter and mean) and place (thousandths of a pixel, RMS per axis)."""
    xs, ys = wcs.sky_to_pixel(stars.ra, stars.dec)
    offset = np.arange(-12, 13)
    fluxes, places = [], []
    for x, y, flux in zip(xs - 1, ys - 1, stars.flux, strict=True):
        i, j = int(np.rint(y)), int(np.rint(x))
        if not (80 <= i < image.shape[0] - 80 and 80 <= j < image.shape[1] - 80):
            continue
        stamp = image[i - 12 : i + 13, j - 12 : j + 13].astype(float)
        row, column = offset[:, None] + i - y, offset[None, :] + j - x
        near = row**2 + column**2 < 121
        fluxes.append((stamp * near).sum() / flux)
        places.append([(stamp * near * v).sum() / (stamp * near).sum() for v in (column, row)])
    fluxes, places = np.array(fluxes), np.array(places)
    scatter, mean = 1086 * np.std(fluxes), 1086 * (np.mean(fluxes) - 1)
    return f"flux {scatter:.2f} mmag about {mean:+.2f} | place {1e3 * np.std(places):.2f} mpx"


def timed(function, times=3):
    """Return the least core-seconds and the last result."""
    best = np.inf
    for _ in range(times):
        began = time.process_time()
        result = function()
        best = min(best, time.process_time() - began)
    return best, result


def resampling(random, *, alone: bool) -> None:
    """Resample one image without noise to the grid of a reference."""
    stars, wcs = stars_of(random), wcs_of(random)
    image, mask = draw(wcs, stars, 2.0, random, noise=0.0), np.zeros(SHAPE, np.uint16)
    output, shape = north_up_grid([(wcs, SHAPE)], scale_arcsec=1.01)
    seconds, chart = timed(lambda: CoarseMap.of(pixel_map(output, wcs), shape))
    x, y = random.uniform(0, shape[1] - 1, 20000), random.uniform(0, shape[0] - 1, 20000)
    error = np.hypot(*(np.array(chart.at(x, y)) - pixel_map(output, wcs)(x, y))).max()
    print(f"| pixel map, nodes every 32 px | {seconds:.3f} | within {error:.1e} px |")
    buffers = Warped.empty(shape, with_variance=True)
    seconds, _ = timed(lambda: warp(image, mask, UNUSABLE, chart, into=buffers), 5)
    print(f"| warp | {seconds:.2f} | {score(buffers.image, output, stars)} |")
    variance = np.full(SHAPE, NOISE**2, np.float32)
    seconds, _ = timed(lambda: warp(image, mask, UNUSABLE, chart, variance=variance, into=buffers))
    print(f"| warp with variance | {seconds:.2f} | |")
    if not alone:
        spline(image, output, wcs, shape, stars)
        swarp(image, output, wcs, shape, stars)
        reproject(image, output, wcs, shape, stars)


def spline(image, output, wcs, shape, stars) -> None:
    """Use scipy's cubic spline at exact places, which are not counted."""
    row, column = np.mgrid[: shape[0], : shape[1]].astype(float)
    x, y = pixel_map(output, wcs)(column, row)
    down, across = np.gradient(np.array([x, y]), axis=(1, 2))
    area = np.abs(across[0] * down[1] - down[0] * across[1])
    seconds, found = timed(lambda: map_coordinates(image, [y, x], order=3, cval=np.nan) * area, 1)
    print(f"| scipy map_coordinates, order 3 | {seconds:.2f} | {score(found, output, stars)} |")


def header_of(wcs, shape=None) -> fits.Header:
    """Return FITS keywords, with the size of the image where given."""
    header = fits.Header(wcs.header())
    if shape:
        header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, shape[1], shape[0]
    return header


def swarp(image, output, wcs, shape, stars) -> None:
    """Run SWarp with LANCZOS3, on one thread."""
    program = shutil.which("SWarp") or shutil.which("swarp")
    if not program:
        print("| SWarp | not installed | |")
        return
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        fits.writeto(here / "in.fits", image, header_of(wcs))
        header_of(output, shape).totextfile(here / "coadd.head", endcard=True)
        options = {
            "COMBINE": "N", "RESAMPLING_TYPE": "LANCZOS3", "SUBTRACT_BACK": "N", "NTHREADS": "1",
            "FSCALASTRO_TYPE": "VARIABLE", "WRITE_XML": "N", "VERBOSE_TYPE": "QUIET", "DELETE_TMPFILES": "N",
            "RESAMPLE_DIR": folder, "IMAGEOUT_NAME": "coadd.fits",
        }  # fmt: skip
        words = [word for key, value in options.items() for word in (f"-{key}", value)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([program, "in.fits", *words], cwd=here, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        with fits.open(here / "in.resamp.fits") as found:
            placed = np.full(shape, np.nan, np.float32)
            part = found[0].data
            x0 = round(output.crpix[0] - found[0].header["CRPIX1"])
            y0 = round(output.crpix[1] - found[0].header["CRPIX2"])
            low = max(0, -x0), max(0, -y0)
            part = part[low[1] : shape[0] - y0, low[0] : shape[1] - x0]
            x0, y0 = max(x0, 0), max(y0, 0)
            placed[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part
    print(f"| SWarp, LANCZOS3, with files | {seconds:.2f} | {score(placed, output, stars)} |")


REPROJECT = """
import sys, time
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
import reproject
image, header = fits.getdata("in.fits"), fits.getheader("in.fits")
target = WCS(fits.Header.fromtextfile("out.head"))
shape = tuple(int(v) for v in sys.argv[2:4])
began = time.process_time()
if sys.argv[1] == "interp":
    found = reproject.reproject_interp((image, WCS(header)), target, shape, order="bicubic",
                                       return_footprint=False)
else:
    found = reproject.reproject_adaptive((image, WCS(header)), target, shape, conserve_flux=True,
                                         return_footprint=False)
print(time.process_time() - began)
np.save("out.npy", found.astype(np.float32))
"""


def reproject(image, output, wcs, shape, stars) -> None:
    """Run reproject's bicubic interpolation (no area ratio: fluxes are corrected here) and adaptive one."""
    python = os.environ.get("REPROJECT_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import reproject"], capture_output=True, check=False).returncode:
        print("| reproject | not installed | |")
        return
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        fits.writeto(here / "in.fits", image, header_of(wcs))
        header_of(output).totextfile(here / "out.head", endcard=True)
        area = np.kron(CoarseMap.of(pixel_map(output, wcs), shape).area, np.ones((32, 32), np.float32))
        area = area[16 : 16 + shape[0], 16 : 16 + shape[1]]
        for kind in ("interp", "adaptive"):
            words = [python, "-c", REPROJECT, kind, *map(str, shape)]
            done = subprocess.run(words, cwd=here, check=True, capture_output=True, text=True)
            found = np.load(here / "out.npy")
            found = found * area if kind == "interp" else found
            print(f"| reproject, {kind} | {float(done.stdout):.2f} | {score(found, output, stars)} |")


def stacking(random, *, alone: bool) -> None:
    """Stack 15 full-size images of noise, 4 % of the samples missing, with hits."""
    frames = NOISE * random.standard_normal((N, *SHAPE), np.float32)
    for frame in frames:
        frame[:, random.integers(0, SHAPE[1], 60)] = np.nan
        frame[random.integers(0, SHAPE[0], 60)] = np.nan
        frame[random.integers(0, SHAPE[0], 20000), random.integers(0, SHAPE[1], 20000)] += 500
    noise, out = StackNoise.constant(np.full(N, NOISE)), Coadd.empty(SHAPE)
    seconds, _ = timed(lambda: coadd(frames, noise, into=out))
    inner = np.isfinite(out.mean)
    ideal = NOISE / np.sqrt(N * 0.96)
    print(f"| coadd of {N} | {seconds:.2f} | noise {np.std(out.mean[inner]) / ideal:.3f} of the ideal |")
    if alone:
        return
    rows = SHAPE[0] // 10  # a tenth is enough to know the rate
    part = frames[:, :rows]
    seconds, found = timed(lambda: np.nanmedian(part, axis=0), 1)
    print(f"| numpy nanmedian | {10 * seconds:.1f} | noise {np.std(found) / ideal:.3f} of the ideal |")

    def clipped():
        middle = np.nanmedian(part, axis=0)
        far = np.abs(part - middle)
        scatter = np.maximum(1.4826 * np.nanmedian(far, axis=0), NOISE)
        return np.nanmean(np.where(far <= 3.5 * scatter, part, np.nan), axis=0)

    seconds, found = timed(clipped, 1)
    print(
        f"| numpy, the same clipping | {10 * seconds:.1f} | noise {np.std(found) / ideal:.3f} of the ideal |"
    )


def building(random) -> None:
    """Build a reference of 15 noisy epochs in changing seeing and transparency."""
    stars = stars_of(random)
    epochs = []
    for pid in range(N):
        wcs, fwhm, zero_point = wcs_of(random), random.uniform(1.8, 2.6), 26.275 - random.uniform(0, 0.3)
        image = draw(wcs, stars, fwhm, random) * np.float32(10 ** (-0.4 * (26.275 - zero_point)))
        noise = NOISE * 10 ** (-0.4 * (26.275 - zero_point))
        mask = np.where(random.random(SHAPE, np.float32) < 5e-4, np.uint16(128), np.uint16(0))
        depth = zero_point - 2.5 * np.log10(5 * noise * np.sqrt(4 * np.pi) * fwhm / 2.3548)
        epochs.append(
            Epoch(pid, wcs, SHAPE, zero_point, Mesh.constant(noise, SHAPE), 1e9, fwhm * SCALE, depth,
                  lambda image=image, mask=mask: (image, mask))
        )  # fmt: skip
    seconds, reference = timed(lambda: build_reference(epochs, "r"), 1)
    measures = measure_reference(reference, epochs)
    print(f"| reference of {N}, in memory | {seconds:.2f} | {score(reference.image, reference.wcs, stars)} |")
    print(
        f"| ... | | {measures.depth_gain:.2f} mag deeper, coverage {measures.median_coverage:g} and "
        f"{measures.low_coverage:g} of 95 %, {measures.nan_fraction:.2%} without value |"
    )


def main() -> None:
    """Measure the seeds named, or all."""
    alone = "--alone" in sys.argv
    for seed in [int(w) for w in sys.argv[1:] if w.isdigit()] or SEEDS:
        print(f"\nseed {seed}\n| what | core-s | |\n|---|---|---|")
        resampling(np.random.default_rng([seed, 1]), alone=alone)
        stacking(np.random.default_rng([seed, 2]), alone=alone)
        building(np.random.default_rng([seed, 3]))


if __name__ == "__main__":
    main()
