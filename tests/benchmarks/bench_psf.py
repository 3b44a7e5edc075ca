"""Score PSF, detection and PSF photometry against truth, and beside photutils.

    python tests/benchmarks/bench_psf.py [sky,seeing,seed ...]         full quadrants against truth
    python tests/benchmarks/bench_psf.py peer [sky,seeing,seed ...]    a corner: ours and photutils in one run

Sky: sparse, ordinary, crowded. Seeing: FWHM before pixel and diffusion, arcsec. Simulated quadrants of
3072 x 3080 pixels, calibrated with what was planted (bias, response, linearity), saturated pixels and defects
masked; cosmic rays, trails and ghosts are off: their masks are other stages'.
Truth knows objects down to magnitude 22. Fluxes hold 1.5 to 3 % less than those of truth, the light scattered
beyond the PSF's stamp: the median of bright stars is taken out. Isolated: no other object of 1 % of the flux
within 8 pixels. Processor seconds, one thread.
"""
# ruff: noqa: T201 - a benchmark prints its table

import importlib.util
import os
import sys
import time
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.spatial import cKDTree

from zsds_tasks.pixels.background import BackgroundConfig, measure_background
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.peaks import detect_peaks, estimate_fwhm
from zsds_tasks.pixels.psf_build import build_psf
from zsds_tasks.pixels.psf_photometry import isolated_stamps, measure_sources
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.calibration.detrend import detrend
from zsds_tasks.science.calibration.overscan import OverscanConfig, fit_overscan
from zsds_tasks.science.photometry.psf_sources import PointSourcesConfig, measure_point_sources
from zsds_tasks.settings import load_settings
from zsds_tasks.simulator.testbed import SKIES, expose_quadrant

CASES = [
    ("sparse", 1.2), ("sparse", 2.0), ("ordinary", 1.2), ("ordinary", 1.5), ("ordinary", 3.0),
    ("crowded", 1.5), ("crowded", 3.0),
]  # fmt: skip
SEEDS = (31, 32, 33)
WITHOUT = ("cosmic_rays", "satellites", "ghosts", "clouds")
CORNER = 1000
MAGNITUDES = [
    (13.0, 15.0),
    (15.0, 17.0),
    (17.0, 19.0),
    (19.0, 20.0),
    (20.0, 20.5),
    (20.5, 21.0),
    (21.0, 21.5),
]


@dataclass(frozen=True)
class Case:
    """An image and its truth (0-based)."""

    image: np.ndarray
    mask: np.ndarray
    noise: Mesh
    gain: float
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    mag: np.ndarray
    is_star: np.ndarray


def make_case(sky, seeing, seed):
    quadrant = expose_quadrant(
        load_settings().include,
        rcid=(7 * seed) % 64,
        seed=seed,
        place=SKIES[sky],
        seeing_arcsec=seeing,
        without=WITHOUT,
    )
    detector = quadrant.quadrant.detector
    level = fit_overscan(quadrant.overscan, quadrant.quadrant.amplifier.read_x, OverscanConfig()).level
    image = detrend(
        quadrant.raw,
        level,
        linearity=(detector.linearity.a, detector.linearity.b),
        saturation=detector.saturation,
        bias=quadrant.bias,
        flat=(quadrant.response * quadrant.smooth).astype(np.float32),
    )
    mask = np.zeros(image.shape, np.uint16)
    mask[quadrant.raw >= detector.saturation] |= MaskBit.SATURATED.flag
    for where in quadrant.defects.values():
        mask[where] |= MaskBit.DEAD.flag
    mask[~np.isfinite(image)] |= MaskBit.NAN.flag
    background = measure_background(image, mask, UNUSABLE, BackgroundConfig())
    background.level.add_to(image, -1.0)
    truth = quadrant.detections
    still = np.hypot(truth["rate_east"].to_numpy(), truth["rate_north"].to_numpy()) == 0
    kind = np.array(truth["kind"].to_pylist())
    return Case(
        image,
        mask,
        background.noise,
        detector.gain,
        truth["x"].to_numpy() - 1,
        truth["y"].to_numpy() - 1,
        truth["flux_dn"].to_numpy(),
        truth["mag"].to_numpy(),
        still & (kind != "galaxy"),
    )


def corner_of(case):
    """The lower left corner, with a mesh of its own."""
    inside = (case.x < CORNER) & (case.y < CORNER)
    noise = Mesh.constant(float(np.median(case.noise.values)), (CORNER, CORNER))
    parts = [np.ascontiguousarray(a[:CORNER, :CORNER]) for a in (case.image, case.mask)]
    truth = [a[inside] for a in (case.x, case.y, case.flux, case.mag, case.is_star)]
    return Case(*parts, noise, case.gain, *truth)


def isolated(case, radius=8.0, share=0.01):
    pairs = cKDTree(np.column_stack([case.x, case.y])).query_pairs(radius, output_type="ndarray")
    alone = np.ones(len(case.x), bool)
    for a, b in (pairs.T, pairs.T[::-1]):
        alone[a[case.flux[b] > share * case.flux[a]]] = False
    return alone


def match(case, x, y, flux, radius=1.0):
    """Row of the source of each object, -1 for none; brightest objects choose first, by place and flux."""
    near = cKDTree(np.column_stack([x, y])).query_ball_point(np.column_stack([case.x, case.y]), radius)
    taken = np.zeros(len(x), bool)
    rows = np.full(len(case.x), -1)
    for k in np.argsort(-case.flux, kind="stable"):
        free = [i for i in near[k] if not taken[i]]
        if free:
            cost = [
                np.hypot(x[i] - case.x[k], y[i] - case.y[k])
                + 0.3 * abs(np.log(max(flux[i], 1e-3) / case.flux[k]))
                for i in free
            ]
            rows[k] = free[int(np.argmin(cost))]
            taken[rows[k]] = True
    return rows, taken


def width(values):
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def stages(case, config):
    """Core seconds of each stage, run once by itself."""
    pixels = (case.image, case.mask, UNUSABLE, case.noise, case.gain)
    scratch, clock = np.empty_like(case.image), [time.process_time()]
    fwhm = estimate_fwhm(*pixels, config.peaks)
    clock.append(time.process_time())
    peaks = detect_peaks(*pixels, fwhm, config.peaks)
    clock.append(time.process_time())
    isolate = isolated_stamps(*pixels, peaks, config.photometry, scratch)
    psf = build_psf(*pixels, peaks, fwhm, config.psf, isolate)
    clock.append(time.process_time())
    measure_sources(*pixels, psf, peaks, config.peaks, config.photometry, scratch)
    clock.append(time.process_time())
    return np.diff(clock)


def score(case, x, y, flux, flux_error, x_error, snr):
    """Print one line per range of magnitudes, and one on false sources."""
    rows, taken = match(case, x, y, flux)
    ny, nx = case.image.shape
    inner = (case.x > 5) & (case.y > 5) & (case.x < nx - 6) & (case.y < ny - 6) & case.is_star
    found, alone = rows >= 0, isolated(case)
    off = np.full(len(case.x), np.nan)
    off[found] = -2.5 * np.log10(np.maximum(flux[rows[found]], 1e-3) / case.flux[found])
    zero = np.median(off[inner & found & alone & (case.mag > 15) & (case.mag < 17)])
    scale = 10 ** (0.4 * zero)
    for low, high in MAGNITUDES:
        part = inner & (case.mag >= low) & (case.mag < high)
        if np.count_nonzero(part) < 10:
            continue
        cells = [f"{low:g}-{high:g}", f"{np.count_nonzero(part)}", f"{100 * found[part].mean():.1f}"]
        for crowd in (alone, ~alone):
            k = np.flatnonzero(part & found & crowd)
            if len(k) < 10:
                cells += ["-"] * 4
                continue
            pull = (scale * flux[rows[k]] - case.flux[k]) / (scale * flux_error[rows[k]])
            cells += [
                f"{1e3 * np.median(off[k] - zero):+.1f}",
                f"{1e3 * width(off[k]):.1f}",
                f"{width(pull):.2f}",
                f"{width(moved := x[rows[k]] - case.x[k]):.4f} / {width(moved / x_error[rows[k]]):.2f}",
            ]
        print("| " + " | ".join(cells) + " |")
    inside = (x > 5) & (y > 5) & (x < nx - 6) & (y < ny - 6)
    distance = cKDTree(np.column_stack([case.x, case.y])).query(np.column_stack([x, y]))[0]
    false = [
        false_line(snr, inside, taken, distance, low, high) for low, high in ((3, 7), (7, 20), (20, np.inf))
    ]
    print(
        "sources without an object of their own (with none within 2.5 px): " + "; ".join(false) + "\n",
        flush=True,
    )


def false_line(snr, inside, taken, distance, low, high):
    here = inside & (snr >= low) & (snr < high)
    own, near = np.count_nonzero(here & ~taken), np.count_nonzero(here & (distance > 2.5))
    return f"S/N {low} to {high}: {own} ({near}) of {np.count_nonzero(here)}"


HEADER = (
    "| mag | stars | found, % | isolated: bias, mmag | scatter, mmag | flux pull | x error, px / pull "
    "| crowded: bias | scatter | flux pull | x error / pull |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def ours(case, config):
    """Measure, and print what it cost."""
    began = time.process_time()
    found = measure_point_sources(case.image, case.mask, case.noise, case.gain, config)
    core = time.process_time() - began
    parts = stages(case, config)
    print(
        f"{len(found)} sources, {core:.2f} core-s (FWHM {parts[0]:.3f}, detection {parts[1]:.3f}, "
        f"PSF {parts[2]:.3f}, photometry {parts[3]:.3f}); PSF of {found.psf.n_stars} stars, degree "
        f"{found.psf.degree}, FWHM {found.psf.fwhm:.3f} px, chi of its stars {found.psf.chi:.2f}"
    )
    return found


def against_truth(cases):
    config = PointSourcesConfig()
    warm = make_case("sparse", 1.5, 1)
    measure_point_sources(warm.image, warm.mask, warm.noise, warm.gain, config)
    for sky, seeing, seed in cases:
        case = make_case(sky, seeing, seed)
        print(f"### {sky}, seeing {seeing} arcsec, seed {seed}: {len(case.x)} objects to magnitude 22")
        found = ours(case, config)
        print(HEADER)
        score(case, found.xpos - 1, found.ypos - 1, found.flux, found.sigflux, found.sigx, found.snr)


def photutils_stars(case, psf_stars):
    """The same positions and stars as ours, given to photutils' EPSFBuilder; returns its PSF."""
    from astropy.nddata import NDData, StdDevUncertainty
    from astropy.table import Table
    from photutils.psf import EPSFBuilder, extract_stars

    sigma = np.sqrt(case.noise.expand() ** 2 + np.maximum(case.image, 0) / case.gain)
    data = NDData(
        np.nan_to_num(case.image), uncertainty=StdDevUncertainty(sigma), mask=(case.mask & UNUSABLE) > 0
    )
    table = Table({"x": psf_stars[0], "y": psf_stars[1]})
    stars = extract_stars(data, table, size=25)
    builder = EPSFBuilder(oversampling=4, maxiters=10, progress_bar=False)
    return builder(stars)[0]


def peer(sky, seeing, seed):
    """A corner measured by ours and by photutils, from the same peaks and PSF stars."""
    import warnings

    from zsds_tasks.pixels.psf_stars import choose_stars

    config = PointSourcesConfig()
    case = corner_of(make_case(sky, seeing, seed))
    print(f"### corner of {CORNER} x {CORNER} px: {sky}, seeing {seeing}, seed {seed}: {len(case.x)} objects")
    measure_point_sources(case.image, case.mask, case.noise, case.gain, config)
    print("ours: ", end="")
    found = ours(case, config)
    print(HEADER)
    score(case, found.xpos - 1, found.ypos - 1, found.flux, found.sigflux, found.sigx, found.snr)
    if importlib.util.find_spec("photutils") is None:
        print("peer not installed: photutils")
        return
    warnings.simplefilter("ignore")
    import photutils
    from astropy.table import Table
    from photutils.psf import PSFPhotometry, SourceGrouper

    pixels = (case.image, case.mask, UNUSABLE, case.noise, case.gain)
    peaks = detect_peaks(*pixels, found.psf.fwhm, config.peaks)
    rows = choose_stars(case.image, case.mask, UNUSABLE, peaks, found.psf.fwhm, config.psf)
    began = time.process_time()
    model = photutils_stars(case, (peaks.x[rows], peaks.y[rows]))
    psf_core = time.process_time() - began
    fit = 2 * max(3, round(1.25 * found.psf.fwhm)) + 1
    visible = peaks.take(~peaks.is_hidden)
    start = Table({"x": visible.x, "y": visible.y, "flux": visible.flux})
    grouper = SourceGrouper(config.photometry.link_fwhm * found.psf.fwhm)
    sigma = np.sqrt(case.noise.expand() ** 2 + np.maximum(case.image, 0) / case.gain)
    began = time.process_time()
    table = PSFPhotometry(model, (fit, fit), grouper=grouper, aperture_radius=found.psf.fwhm)(
        np.nan_to_num(case.image), mask=(case.mask & UNUSABLE) > 0, error=sigma, init_params=start
    )
    core = time.process_time() - began
    print(
        f"photutils {photutils.__version__}: {len(table)} sources (our peaks), EPSFBuilder {psf_core:.2f} "
        f"core-s of {len(rows)} stars, PSFPhotometry {core:.2f} core-s"
    )
    print(HEADER)
    flux, error, x_error = (np.asarray(table[c], float) for c in ("flux_fit", "flux_err", "x_err"))
    good = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    x, y = np.asarray(table["x_fit"], float)[good], np.asarray(table["y_fit"], float)[good]
    score(case, x, y, flux[good], error[good], x_error[good], flux[good] / error[good])


def parsed(word):
    sky, seeing, seed = word.split(",")
    return sky, float(seeing), int(seed)


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["peer"]:
        for wanted in words[1:] or ["ordinary,1.5,31"]:
            peer(*parsed(wanted))
    else:
        against_truth([parsed(w) for w in words] or [(*case, seed) for case in CASES for seed in SEEDS])
