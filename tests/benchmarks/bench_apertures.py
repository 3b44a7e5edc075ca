"""Sky, detection, apertures and classes beside SExtractor, sep and photutils, on simulated quadrants.

    python tests/benchmarks/bench_apertures.py [sky ...] [seed ...]

Full quadrants of the simulator (no cosmic rays, no satellites: those are masked before), flattened with the
planted maps, so that truth is exact. All tools get the same image, noise map and bad pixels; ours also the
true PSF. SExtractor runs as a program (user seconds, reading its files included), the libraries in this
process (processor seconds, one thread). Medians over the seeds; ours after a warm-up call.
"""
# ruff: noqa: T201 - a benchmark prints its tables

from __future__ import annotations

import importlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import numpy as np  # noqa: E402 - the path comes first
from astropy.io import fits  # noqa: E402 - as above
from scipy.spatial import cKDTree  # noqa: E402 - as above
from scipy.stats import rankdata  # noqa: E402 - as above

from zsds_tasks.pixels.background import BackgroundConfig, measure_background  # noqa: E402 - as above
from zsds_tasks.products.masks import UNUSABLE, MaskBit  # noqa: E402 - as above
from zsds_tasks.science.calibration.detrend import detrend  # noqa: E402 - as above
from zsds_tasks.science.calibration.overscan import OverscanConfig, fit_overscan  # noqa: E402 - as above
from zsds_tasks.science.photometry.apertures import ApertureConfig, measure_apertures  # noqa: E402 - as above
from zsds_tasks.settings import REPOSITORY  # noqa: E402 - as above
from zsds_tasks.simulator.instrument.drawing import draw_light  # noqa: E402 - as above
from zsds_tasks.simulator.instrument.optics import quadrant_origin  # noqa: E402 - as above
from zsds_tasks.simulator.instrument.psf import pixel_variance, psf_shapes  # noqa: E402 - as above
from zsds_tasks.simulator.instrument.readout import GRID_STEP  # noqa: E402 - as above
from zsds_tasks.simulator.testbed import SKIES, ExposedQuadrant, expose_quadrant  # noqa: E402 - as above
from zsds_tasks.sky.tangent import project  # noqa: E402 - as above

SEEDS = (101, 102, 103)
DIAMETERS = (2.0, 3.0, 4.0, 6.0, 10.0, 14.0)
SIGMA_PER_MAD = 1.4826
PYRAMID = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 16
PARAMETERS = (
    "XWIN_IMAGE YWIN_IMAGE FLUX_AUTO FLUXERR_AUTO FLUX_APER(6) FLUXERR_APER(6) FLUX_RADIUS KRON_RADIUS "
    "A_IMAGE B_IMAGE THETA_IMAGE ELONGATION FWHM_IMAGE CLASS_STAR FLAGS ISOAREA_IMAGE"
)
SIGNALS = ((5, 10), (10, 20), (20, 50), (50, 200))
MAGNITUDES = ((17.0, 19.0), (19.0, 20.0), (20.0, 20.5), (20.5, 21.0))


class TruePsf:
    """The simulator's PSF at any place of a quadrant, drawn from its mixture."""

    def __init__(self, exposed: ExposedQuadrant) -> None:
        self.exposed, self.config = exposed, exposed.instrument.config.psf
        self.shapes: dict[tuple[float, float], tuple[float, float, float]] = {}
        ny, nx = exposed.raw.shape
        middle = self.stamp(nx / 2, ny / 2, 25)[12, 12:]
        below = int(np.argmax(middle < middle[0] / 2))
        step = (middle[below - 1] - middle[0] / 2) / (middle[below - 1] - middle[below])
        self.fwhm = float(2 * (below - 1 + step))

    def shape(self, x: float, y: float) -> tuple[float, float, float]:
        """Return the second moments of the core at a 0-based place, looked up once per place."""
        if (x, y) not in self.shapes:
            exposure = self.exposed.exposure
            ra, dec = self.exposed.pixels_to_sky(np.array([x + 1.0]), np.array([y + 1.0]))
            boresight = (exposure.boresight_ra, exposure.boresight_dec)
            place = project(ra, dec, boresight, exposure.rotation_deg)
            shape = psf_shapes(exposure, self.exposed.instrument.camera, self.config, place)
            self.shapes[x, y] = (float(shape.xx[0]), float(shape.xy[0]), float(shape.yy[0]))
        return self.shapes[x, y]

    def stamp(
        self, x: float, y: float, size: int = 25, shift: tuple[float, float] = (0.0, 0.0)
    ) -> np.ndarray:
        """Return it on a square of pixels, sum 1 when centred."""
        xx0, xy0, yy0 = self.shape(x, y)
        offset = np.arange(size) - size // 2
        dx, dy = offset[None, :] - shift[0], offset[:, None] - shift[1]
        wider, light = pixel_variance(self.config), np.zeros((size, size))
        for weight, variance in zip(self.config.core.weights, self.config.core.variances, strict=True):
            xx, xy, yy = variance * xx0, variance * xy0, variance * yy0
            xx, yy = xx + wider, yy + wider
            det = xx * yy - xy * xy
            power = (yy * dx * dx - 2 * xy * dx * dy + xx * dy * dy) / det
            light += weight / (2 * np.pi * np.sqrt(det)) * np.exp(-0.5 * power)
        return light.astype(np.float32)


@dataclass(frozen=True)
class Field:
    """One calibrated quadrant with its truth; positions 0-based."""

    image: np.ndarray
    mask: np.ndarray
    level: np.ndarray
    noise: np.ndarray
    gain: float
    psf: TruePsf
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    mag: np.ndarray
    is_star: np.ndarray
    is_still: np.ndarray


def make_field(sky: str, seed: int) -> Field:
    """Expose a quadrant and flatten it with the planted maps."""
    exposed = expose_quadrant(
        REPOSITORY / "include", seed=seed, place=SKIES[sky], without=("cosmic_rays", "satellites")
    )
    detector = exposed.quadrant.detector
    level = fit_overscan(exposed.overscan, exposed.quadrant.amplifier.read_x, OverscanConfig()).level
    flat = exposed.response * exposed.smooth
    linearity = (detector.linearity.a, detector.linearity.b)
    image = detrend(
        exposed.raw, level, linearity=linearity, saturation=detector.saturation, bias=exposed.bias, flat=flat
    )
    mask = np.where(exposed.raw >= detector.saturation, MaskBit.SATURATED.flag, 0).astype(np.uint16)
    for where in exposed.defects.values():
        mask[where] |= MaskBit.DEAD.flag
    # What a flattened image holds: smooth light undimmed, dark current and noise divided by the throughput.
    dark = detector.dark_current * exposed.exposure.exptime_s
    sky_electrons = _smooth_light(exposed) + dark / exposed.smooth
    collected = sky_electrons * exposed.smooth
    noise = np.sqrt(collected + detector.read_noise**2) / exposed.smooth / detector.gain
    table = exposed.detections
    kind = np.array(table["kind"].to_pylist())
    rate = np.hypot(table["rate_east"].to_numpy(), table["rate_north"].to_numpy())
    return Field(
        image,
        mask,
        sky_electrons / detector.gain,
        noise,
        detector.gain,
        TruePsf(exposed),
        table["x"].to_numpy() - 1,
        table["y"].to_numpy() - 1,
        table["flux_dn"].to_numpy(),
        table["mag"].to_numpy(),
        kind != "galaxy",
        (rate * exposed.exposure.exptime_s < 1.0) & np.isin(kind, ["star", "galaxy", "variable"]),
    )


def _smooth_light(exposed: ExposedQuadrant) -> np.ndarray:
    scene = exposed.stage.night.scene(exposed.exposure, exposed.quadrant.ccdid)
    nodes = draw_light(exposed.instrument, scene, exposed.quadrant.ccdid).smooth
    x0, y0 = quadrant_origin(exposed.instrument.camera, exposed.quadrant.qid)
    ny, nx = exposed.raw.shape
    row, column = np.arange(y0, y0 + ny) / GRID_STEP, np.arange(x0, x0 + nx) / GRID_STEP
    i, j = row.astype(int), column.astype(int)
    a, b = (row - i)[:, None], column - j
    rows = nodes[i] * (1 - a) + nodes[i + 1] * a
    return rows[:, j] * (1 - b) + rows[:, j + 1] * b


def peer(name: str):
    """Import a library, or say that it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def clocked(work: Callable[[], object], repeats: int = 1) -> tuple[object, float]:
    """Return the last result and the median of the processor seconds of some calls."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        result = work()
        times.append(time.process_time() - began)
    return result, float(np.median(times))


# --- sky


def skies(field: Field) -> dict[str, tuple[float, np.ndarray, np.ndarray]]:
    """Return core seconds, level and noise maps of every tool."""
    bad = ((field.mask & UNUSABLE) != 0) | ~np.isfinite(field.image)
    filled = np.where(bad, np.float32(0), field.image)
    measure_background(field.image, field.mask, UNUSABLE, BackgroundConfig())
    found, core = clocked(
        lambda: measure_background(field.image, field.mask, UNUSABLE, BackgroundConfig()), 3
    )
    out = {"ours": (core, found.level.expand(), found.noise.expand())}
    if sep := peer("sep"):
        theirs, core = clocked(lambda: sep.Background(filled, mask=bad, bw=128, bh=128, fw=3, fh=3), 3)
        out["sep"] = (core, theirs.back(), theirs.rms())
    if background := peer("photutils.background"):
        clip = peer("astropy.stats").SigmaClip(sigma=3.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs, core = clocked(
                lambda: background.Background2D(
                    filled, 128, mask=bad, filter_size=3, sigma_clip=clip, exclude_percentile=50
                )
            )
        out["photutils"] = (core, theirs.background, theirs.background_rms)
    return out


# --- sources


@dataclass(frozen=True)
class Found:
    """A catalogue in common terms; positions 0-based; NaN where a tool has no such measure."""

    core: float
    x: np.ndarray
    y: np.ndarray
    aper: np.ndarray
    auto: np.ndarray
    star: np.ndarray
    errors: tuple[np.ndarray, np.ndarray] | None = None


def ours(field: Field, image: np.ndarray, background: object) -> Found:
    """Measure with this package, default configuration."""
    catalog, core = clocked(
        lambda: measure_apertures(image, field.mask, background, field.gain, field.psf, ApertureConfig()), 3
    )
    return Found(
        core,
        catalog.xwin_image - 1,
        catalog.ywin_image - 1,
        catalog.flux_aper[:, 3],
        catalog.flux_auto,
        catalog.class_star,
        (catalog.fluxerr_aper[:, 3], np.sqrt(catalog.errx2win_image)),
    )


def by_sextractor(field: Field, image: np.ndarray, noise: np.ndarray) -> Found | None:
    """Measure with the program: threshold 1.5 sigma, 5 pixels, its 3 x 3 filter."""
    if not shutil.which("source-extractor"):
        return None
    full = (field.mask & MaskBit.SATURATED.flag) != 0
    bad = (((field.mask & UNUSABLE) != 0) | ~np.isfinite(image)) & ~full
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fits.writeto(folder / "image.fits", np.where(np.isfinite(image), image, np.float32(60000)))
        fits.writeto(folder / "rms.fits", np.where(bad, np.float32(1e30), noise))
        (folder / "some.param").write_text("\n".join(PARAMETERS.split()))
        (folder / "some.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
        (folder / "default.sex").write_text("")
        options = {
            "CATALOG_NAME": str(folder / "found.fits"),
            "CATALOG_TYPE": "FITS_1.0",
            "PARAMETERS_NAME": str(folder / "some.param"),
            "FILTER_NAME": str(folder / "some.conv"),
            "STARNNW_NAME": "/usr/share/source-extractor/default.nnw",
            "DETECT_THRESH": "1.5",
            "ANALYSIS_THRESH": "1.5",
            "WEIGHT_TYPE": "MAP_RMS",
            "WEIGHT_IMAGE": str(folder / "rms.fits"),
            "BACK_TYPE": "MANUAL",
            "BACK_VALUE": "0",
            "GAIN": str(field.gain),
            "PHOT_APERTURES": ",".join(map(str, DIAMETERS)),
            "SEEING_FWHM": str(field.psf.fwhm),
            "PIXEL_SCALE": "1.0",
            "SATUR_LEVEL": "59000",
            "MEMORY_PIXSTACK": "3000000",
            "MEMORY_OBJSTACK": "30000",
            "NTHREADS": "1",
            "VERBOSE_TYPE": "QUIET",
        }
        words = [word for key, value in options.items() for word in (f"-{key}", value)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run(["source-extractor", str(folder / "image.fits"), *words], check=True, cwd=folder)
        core = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        rows = np.array(fits.getdata(folder / "found.fits", 1))
    return Found(
        core,
        rows["XWIN_IMAGE"] - 1,
        rows["YWIN_IMAGE"] - 1,
        rows["FLUX_APER"][:, 3],
        rows["FLUX_AUTO"],
        rows["CLASS_STAR"],
        (rows["FLUXERR_APER"][:, 3], np.full(len(rows), np.nan)),
    )


def by_sep(field: Field, image: np.ndarray, noise: np.ndarray) -> Found | None:
    """Measure with sep: the steps of its documentation for SExtractor's measures."""
    sep = peer("sep")
    if sep is None:
        return None
    bad = ((field.mask & UNUSABLE) != 0) | ~np.isfinite(image)
    filled = np.where(bad, np.float32(0), image)
    sep.set_extract_pixstack(5_000_000)
    sep.set_sub_object_limit(100_000)

    def work() -> tuple[np.ndarray, ...]:
        rows, labels = sep.extract(
            filled,
            1.5,
            err=noise,
            mask=bad,
            minarea=5,
            filter_kernel=PYRAMID,
            filter_type="conv",
            segmentation_map=True,
        )
        x, y = rows["x"], rows["y"]
        options = {"err": noise, "mask": bad, "gain": field.gain, "subpix": 0}
        options |= {"segmap": labels, "seg_id": np.arange(1, len(rows) + 1, dtype=np.int32)}
        circles = [sep.sum_circle(filled, x, y, d / 2, **options) for d in DIAMETERS]
        half_turn = np.pi / 2 - 1e-6  # it refuses what rounding puts beyond
        shape = (rows["a"], rows["b"], np.clip(rows["theta"], -half_turn, half_turn))
        segments = {"segmap": options["segmap"], "seg_id": options["seg_id"]}
        kron, _ = sep.kron_radius(filled, x, y, *shape, 6.0, mask=bad, **segments)
        kron = np.maximum(2.5 * np.nan_to_num(kron, nan=1.4), 3.5)
        auto, _, _ = sep.sum_ellipse(filled, x, y, *shape, kron, **(options | {"subpix": 5}))
        half, _ = sep.flux_radius(filled, x, y, 6.0 * rows["a"], 0.5, normflux=auto, subpix=5, **segments)
        x, y, _ = sep.winpos(filled, x, y, np.maximum(half, 0.5) / 1.1774)
        return x, y, circles[3][0], auto, circles[3][1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (x, y, aper, auto, error), core = clocked(work)
    return Found(core, x, y, aper, auto, np.full(len(x), np.nan), (error, np.full(len(x), np.nan)))


def by_photutils(field: Field, image: np.ndarray, noise: np.ndarray) -> Found | None:
    """Measure with photutils: segmentation with deblending and its source catalogue."""
    segmentation, convolution = peer("photutils.segmentation"), peer("astropy.convolution")
    if segmentation is None:
        return None
    bad = ((field.mask & UNUSABLE) != 0) | ~np.isfinite(image)
    filled = np.where(bad, np.float32(0), image)

    def work() -> tuple[np.ndarray, ...]:
        smooth = convolution.convolve(filled, PYRAMID)
        whole = segmentation.detect_sources(smooth, 1.5 * noise, n_pixels=5, mask=bad)
        parts = segmentation.deblend_sources(
            smooth, whole, n_pixels=5, n_levels=32, contrast=0.005, progress_bar=False
        )
        rows = segmentation.SourceCatalog(filled, parts, convolved_data=smooth, error=noise, mask=bad)
        circles = [rows.circular_photometry(d / 2)[0] for d in DIAMETERS]
        return rows.x_centroid, rows.y_centroid, circles[3], rows.kron_flux, rows.flux_radius(0.5)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (x, y, aper, auto, _), core = clocked(work)
    return Found(core, x, y, aper, auto, np.full(len(x), np.nan))


# --- scores


def matched(field: Field, found: Found, radius: float = 1.5) -> np.ndarray:
    """Return the row of the source that belongs to each true one, -1 for none; the brightest choose first."""
    order = np.argsort(field.mag, kind="stable")
    order = order[field.is_still[order]]
    places = np.column_stack([field.x, field.y])[order]
    gap, near = cKDTree(np.column_stack([found.x, found.y])).query(places, k=3, distance_upper_bound=radius)
    row, is_taken = np.full(len(field.x), -1), np.zeros(len(found.x), bool)
    for k, truth in enumerate(order):
        for candidate in near[k][np.isfinite(gap[k])]:
            if not is_taken[candidate]:
                row[truth], is_taken[candidate] = candidate, True
                break
    return row


def scatter(values: np.ndarray) -> float:
    """Robust standard deviation."""
    return float(SIGMA_PER_MAD * np.median(np.abs(values - np.median(values)))) if len(values) else np.nan


def area_under(score: np.ndarray, is_star: np.ndarray) -> float:
    """Probability that a star scores above a galaxy."""
    n, m = np.count_nonzero(is_star), np.count_nonzero(~is_star)
    if min(n, m) < 8 or not np.isfinite(score).all():
        return np.nan
    return float((rankdata(score)[is_star].sum() - n * (n + 1) / 2) / (n * m))


def scores(field: Field, found: Found, noise: float) -> dict[str, float]:
    """Return what a tool gets right."""
    row = matched(field, found)
    n_eff = 1 / np.sum(field.psf.stamp(1500, 1500).astype(float) ** 2)
    snr = field.flux / np.sqrt(n_eff * noise**2 + field.flux / field.gain)
    ny, nx = field.image.shape
    inner = (field.x > 12) & (field.y > 12) & (field.x < nx - 13) & (field.y < ny - 13)
    away, _ = cKDTree(np.column_stack([field.x, field.y])).query(np.column_stack([found.x, found.y]))
    out = {"core-s": found.core, "n": len(found.x), "false %": 100 * float(np.mean(away > 2))}
    for low, high in SIGNALS:
        rows = (snr >= low) & (snr < high) & field.is_star & field.is_still
        out[f"compl {low}-{high}"] = 100 * float(np.mean(row[rows] >= 0))
    rows = np.flatnonzero((snr >= 50) & (snr < 200) & field.is_star & field.is_still & inner & (row >= 0))
    at = row[rows]
    aper = -2.5 * np.log10(np.maximum(found.aper[at], 1) / field.flux[rows])
    auto = -2.5 * np.log10(np.maximum(found.auto[at], 1) / field.flux[rows])
    out |= {"aper6 mmag": 1000 * scatter(aper), "auto mmag": 1000 * scatter(auto)}
    out["auto bias mmag"] = 1000 * float(np.median(auto))
    if found.errors is not None:
        part = np.median(found.aper[at] / field.flux[rows])
        out["pull aper6"] = scatter((found.aper[at] - part * field.flux[rows]) / found.errors[0][at])
        out["pull x"] = scatter((found.x[at] - field.x[rows]) / found.errors[1][at])
    for low, high in MAGNITUDES:
        rows = np.flatnonzero((field.mag >= low) & (field.mag < high) & field.is_still & (row >= 0))
        rows = rows[np.isfinite(found.star[row[rows]])]
        out[f"class {low:g}-{high:g}"] = area_under(found.star[row[rows]], field.is_star[rows])
    return out


def table(rows: dict[str, list[dict[str, float]]]) -> None:
    """Print medians over the seeds."""
    for tool, found in rows.items():
        if not found:
            print(f"| {tool} | peer not installed |")
            continue
        values = {key: float(np.median([one.get(key, np.nan) for one in found])) for key in found[0]}
        print(f"| {tool} | " + " | ".join(f"{key} {value:.4g}" for key, value in values.items()) + " |")


def one_seed(
    sky: str, seed: int, rows: dict[str, dict[str, list[dict[str, float]]]], *, is_first: bool
) -> None:
    """Measure one quadrant with every tool."""
    field = make_field(sky, seed)
    sigma = float(np.median(field.noise))
    for tool, (core, level, noise) in skies(field).items():
        off = (level - field.level) / sigma
        rows["sky"].setdefault(tool, []).append(
            {
                "core-s": core,
                "level bias sigma": float(np.median(off)),
                "level scatter": scatter(off.ravel()[::7]),
                "noise bias %": 100 * float(np.median(noise / field.noise) - 1),
            }
        )
    background = measure_background(field.image, field.mask, UNUSABLE, BackgroundConfig())
    image, noise = field.image.copy(), background.noise.expand()
    background.level.add_to(image, -1.0)
    results = {"ours": ours(field, image, background), "SExtractor": by_sextractor(field, image, noise)}
    results["sep"] = by_sep(field, image, noise)
    if is_first and sky != "crowded":  # minutes in a crowded field
        results["photutils (first seed)"] = by_photutils(field, image, noise)
    for tool, found in results.items():
        kept = rows["sources"].setdefault(tool, [])
        if found is not None:
            kept.append(scores(field, found, sigma))


def main(words: list[str]) -> None:
    """Print the tables."""
    seeds = tuple(int(word) for word in words if word.isdigit()) or SEEDS
    for sky in [word for word in words if word in SKIES] or SKIES:
        rows: dict[str, dict[str, list[dict[str, float]]]] = {"sky": {}, "sources": {}}
        for k, seed in enumerate(seeds):
            one_seed(sky, seed, rows, is_first=k == 0)
        for name, part in rows.items():
            print(f"\n{sky}, {name}, seeds {', '.join(map(str, seeds))}")
            table(part)
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
