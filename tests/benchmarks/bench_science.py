"""The whole chain on full-size quadrants: seconds, memory and accuracy, beside SExtractor + PSFEx + SCAMP.

    python tests/benchmarks/bench_science.py [sky:seeing:seed ...]        default: all of FIELDS
    python tests/benchmarks/bench_science.py --alone ...                  without the peer

One process, one thread. The masters are the planted ones, so that what is measured is the chain. Errors are
against the truth of the simulator. The peer is given the calibrated image, our mask and the same reference
stars; it has no photometric calibration, so magnitudes are compared up to a constant.
"""
# ruff: noqa: T201 - a benchmark prints its table

from __future__ import annotations

import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import peers
import pyarrow as pa
from astropy.io import fits
from scipy.spatial import cKDTree

from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.astrometry import Pointing, ReferenceStars
from zsds_tasks.science.calibration.reduce import ReadoutFacts
from zsds_tasks.science.masking.ghosts import BrightStars
from zsds_tasks.settings import load_settings
from zsds_tasks.simulator.testbed import SKIES, ExposedQuadrant, expose_quadrant
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.steps.exposure.chain import Chain
from zsds_tasks.steps.exposure.configuration import load_exposure_config
from zsds_tasks.steps.exposure.given import Buffers, Catalogs, ChainInput
from zsds_tasks.survey.nights import mjd

FIELDS = (
    "sparse:1.3:901", "ordinary:1.6:902", "rich:1.6:903", "rich:1.2:904", "rich:2.6:905", "crowded:1.6:906",
)  # fmt: skip
LONELY_PX = 8.0
MATCH_PX = 1.0
BRIGHT_SNR = 100.0
BITS = {"dead": MaskBit.DEAD, "low": MaskBit.LOW_RESPONSE, "high": MaskBit.HIGH_RESPONSE,
        "hot": MaskBit.NOISY,
        "blocked column": MaskBit.LOW_RESPONSE}  # fmt: skip


@dataclass(frozen=True)
class Accuracy:
    """Errors against truth: of lonely stars of S/N over 100, unless said otherwise.

    Parameters
    ----------
    scatter_mmag, place_mas : float
        Robust; of magnitudes about their median, of places per axis.
    completeness, purity : float
        Of expected S/N over 10: lonely stars found; sources that are something.
    faint_pull : float
        Width of flux errors over sigmas of S/N 10 to 40.
    crowded_mmag : float
        Scatter of magnitudes of S/N over 100 stars that are not lonely.
    """

    scatter_mmag: float
    place_mas: float
    completeness: float
    purity: float
    faint_pull: float
    crowded_mmag: float


def chain_of(exposed: ExposedQuadrant, config, buffers: Buffers) -> Chain:
    """Prepare the chain for a quadrant, reference stars in memory."""
    gaia, ps1 = exposed.catalogs(0.85)
    exposure, camera, quadrant = exposed.exposure, exposed.instrument.camera, exposed.quadrant
    static = np.zeros(exposed.raw.shape, np.uint16)
    for kind, bit in BITS.items():
        static[exposed.defects[kind]] |= np.uint16(bit.flag)
    detector = quadrant.detector
    given = ChainInput(
        subject="bench",
        camera=camera,
        quadrant=quadrant,
        filter_name=exposure.filter.name,
        raw=exposed.raw,
        overscan=exposed.overscan,
        bias=exposed.bias,
        flat=np.ascontiguousarray(exposed.response * exposed.smooth),
        static_mask=static,
        smooth=None,
        facts=ReadoutFacts(detector.gain, detector.saturation, (detector.linearity.a, detector.linearity.b)),
        read_noise=detector.read_noise,
        pointing=Pointing(exposure.header_ra, exposure.header_dec, exposure.header_rotation_deg),
        mjd=mjd(exposure.middle),
        exptime_s=exposure.exptime_s,
        airmass=exposure.airmass,
        calibration_age_d=0.0,
        ghost_model=config.ghosts.prior,
    )
    return Chain(given, _catalogs(gaia, ps1), config, buffers)


def _catalogs(gaia: pa.Table, ps1: pa.Table) -> Catalogs:
    ra, dec, pmra, pmdec, mag = (
        gaia[name].to_numpy().astype(float) for name in ("ra", "dec", "pmra", "pmdec", "phot_g_mean_mag")
    )

    def stars(centre, radius):
        near = separation_deg(ra, dec, *centre) < radius
        return ReferenceStars(ra[near], dec[near], pmra[near], pmdec[near], mag[near], 2016.0)

    bright = mag < 9.0
    return Catalogs(
        astrometric=stars,
        photometric=lambda _centre, _radius: ps1,
        bright=lambda _centre, _radius: BrightStars(ra[bright], dec[bright], mag[bright]),
    )


def score(exposed: ExposedQuadrant, noise: float, n_eff: float, gain: float, found: dict) -> Accuracy:
    """Compare measured x, y, flux, flux_error, ra, dec with truth."""
    truth = exposed.detections.to_pandas()
    truth = truth[(truth.flux_dn > 0)].reset_index(drop=True)
    ny, nx = exposed.raw.shape
    snr = truth.flux_dn / np.sqrt(noise**2 * n_eff + truth.flux_dn / gain)
    places = np.stack([truth.x, truth.y], axis=1)
    tree = cKDTree(places)
    light = truth.flux_dn.to_numpy()
    neighbours = tree.query(places, k=6, distance_upper_bound=LONELY_PX)[1][:, 1:]
    beside = np.append(light, 0.0)[neighbours].max(axis=1)
    lonely = beside < 0.003 * light
    bad = np.zeros(exposed.raw.shape, bool)
    for where in exposed.defects.values():
        bad |= where
    bad |= exposed.raw >= exposed.quadrant.detector.saturation
    near_bad = cKDTree(np.argwhere(bad)[:, ::-1] + 1.0).query(places, distance_upper_bound=5.0)[0] < 5.0
    inside = (truth.x > 15) & (truth.y > 15) & (truth.x < nx - 15) & (truth.y < ny - 15)
    star = truth.kind.isin(["star", "variable"]) & inside & ~near_bad
    measured = np.stack([found["x"], found["y"]], axis=1)
    own = cKDTree(measured)
    distance, row = own.query(places, distance_upper_bound=MATCH_PX)
    hit = np.isfinite(distance)
    bright = star & lonely & hit & (snr > BRIGHT_SNR)
    faint = star & lonely & hit & (snr > 10) & (snr < 40)
    dense = star & ~lonely & hit & (snr > BRIGHT_SNR) & (beside < light)

    def magnitudes(rows) -> np.ndarray:
        return -2.5 * np.log10(np.maximum(found["flux"][row[rows]], 1e-3) / light[rows])

    offset = np.median(magnitudes(bright))
    scale = 10 ** (-0.4 * offset)
    pull = (found["flux"][row[faint]] - scale * light[faint]) / found["flux_error"][row[faint]]
    east = (found["ra"][row[bright]] - truth.ra[bright]) * np.cos(np.radians(truth.dec[bright])) * 3.6e6
    north = (found["dec"][row[bright]] - truth.dec[bright]) * 3.6e6
    claimed = found["flux"] / found["flux_error"] > 10
    claimed &= (
        found["usable"]
        & (found["x"] > 15)
        & (found["x"] < nx - 15)
        & (found["y"] > 15)
        & (found["y"] < ny - 15)
    )
    real = tree.query(measured[claimed])[0] < 2.0
    wanted = star & lonely & (snr > 10)
    return Accuracy(
        scatter_mmag=1e3 * robust(magnitudes(bright)),
        place_mas=float(np.mean([spread(east), spread(north)])),
        completeness=float(hit[wanted].mean()),
        purity=float(real.mean()),
        faint_pull=robust(pull),
        crowded_mmag=1e3 * robust(magnitudes(dense)) if dense.sum() > 20 else float("nan"),
    )


def robust(values: np.ndarray) -> float:
    """Scatter about the median, by the MAD."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def spread(values: np.ndarray) -> float:
    """Scatter about zero."""
    return 1.4826 * float(np.median(np.abs(values)))


def ours(chain: Chain) -> dict:
    """Return what the chain measured."""
    points = chain.points
    return {
        "x": points.xpos, "y": points.ypos, "flux": points.flux, "flux_error": points.sigflux, "ra": chain.ra,
        "dec": chain.dec, "usable": (chain.flags & UNUSABLE) == 0,
    }  # fmt: skip


def theirs(found: peers.PeerResult) -> dict:
    """Return what the peer measured; where its PSF fit gave up, the windowed place and the Kron flux."""
    table = found.table
    fitted = (table["FLUX_PSF"] > 0) & (table["FLUXERR_PSF"] > 0)

    def either(psf: str, other: str) -> np.ndarray:
        return np.where(fitted, table[psf], table[other]).astype(float)

    ra, dec = found.wcs.all_pix2world(table["XWIN_IMAGE"], table["YWIN_IMAGE"], 1)
    return {
        "x": either("XPSF_IMAGE", "XWIN_IMAGE"), "y": either("YPSF_IMAGE", "YWIN_IMAGE"),
        "flux": either("FLUX_PSF", "FLUX_AUTO"), "flux_error": either("FLUXERR_PSF", "FLUXERR_AUTO"),
        "ra": ra, "dec": dec, "usable": (table["FLAGS"] < 4) & (table["IMAFLAGS_ISO"] == 0),
    }  # fmt: skip


def run(field: str, *, alone: bool) -> None:
    """Measure one field and print its rows."""
    sky, seeing, seed = field.split(":")
    include = load_settings().include
    config = load_exposure_config(include)
    exposed = expose_quadrant(include, seed=int(seed), place=SKIES[sky], seeing_arcsec=float(seeing))
    buffers = Buffers.of(exposed.raw.shape)
    chain = chain_of(exposed, config, buffers)
    chain.run()  # compiled code and imports are warm after this
    chain = Chain(chain.given, chain.catalogs, config, buffers)
    began = time.process_time()
    chain.run()
    total = time.process_time() - began
    noise = float(np.median(chain.background.noise.values))
    n_eff = 1 / float(np.sum(chain.psf.stamp(1536, 1540).astype(float) ** 2))
    gain = chain.given.facts.gain
    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in chain.seconds.items())
    print(f"\n{field}: {len(chain.points)} sources, FWHM {chain.psf.fwhm:.2f} px; {stages}")
    zero_point = chain.zero_point
    print(f"MAGZPRMS {zero_point.magzprms:.3f} of {zero_point.nmatches} stars, limit {chain.depth.limit:.2f}")
    show("ours", total, len(chain.points), score(exposed, noise, n_eff, gain, ours(chain)))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        memory = fresh.submit(peak_gb, chain.given, *exposed.catalogs(0.85)).result()
    print(f"peak memory of a fresh process that is given the same input and runs the chain: {memory:.2f} GB")
    if alone or not peers.installed():
        print("" if alone else "peer not installed: apt-get install source-extractor psfex scamp")
        return
    image = chain.image.copy()
    chain.background.level.add_to(image, 1.0)
    bad = (chain.mask & (UNUSABLE & ~MaskBit.GHOST.flag & ~MaskBit.HALO.flag)) > 0
    image[~np.isfinite(image)] = 0.0
    with tempfile.TemporaryDirectory() as folder:
        gaia = at_epoch(exposed.catalogs(0.85)[0], chain.given.mjd)
        found = peers.run_chain(image, bad, gain, header_of(chain), gaia, Path(folder))
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in found.core_s.items())
    print(f"peer: {parts}")
    show("SExtractor + PSFEx + SCAMP", sum(found.core_s.values()), len(found.table),
         score(exposed, noise, n_eff, gain, theirs(found)))  # fmt: skip


def peak_gb(given: ChainInput, gaia: pa.Table, ps1: pa.Table) -> float:
    """Run the chain once; return the peak resident memory of this process."""
    config = load_exposure_config(load_settings().include)
    Chain(given, _catalogs(gaia, ps1), config, Buffers.of(given.flat.shape)).run()
    # Not ru_maxrss: that is inherited from the process that started this one.
    return float(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e6


def at_epoch(gaia: pa.Table, when: float) -> pa.Table:
    """Return the catalogue with its stars where they are at an MJD: SCAMP knows no proper motion."""
    column = [gaia[name].to_numpy().astype(float) for name in ("ra", "dec", "pmra", "pmdec")]
    ra, dec = ReferenceStars(*column, gaia["phot_g_mean_mag"].to_numpy().astype(float), 2016.0).at(when)
    kept = gaia.drop_columns(["ra", "dec"])
    return kept.append_column("ra", pa.array(ra)).append_column("dec", pa.array(dec))


def header_of(chain: Chain) -> fits.Header:
    """Return the WCS that SCAMP starts from: the camera's distortion, as solved, where the telescope pointed.

    From a linear one, as ours starts from, it does not converge: the distortion is 50 arcsec at the corners.
    """
    ny, nx = chain.shape
    header = fits.Header(chain.solution.wcs.header())
    middle = [float(v[0]) for v in chain.solution.wcs.pixel_to_sky([(nx + 1) / 2], [(ny + 1) / 2])]
    for axis in (0, 1):
        header[f"CRVAL{axis + 1}"] += chain.view.centre[axis] - middle[axis]
    header["SATURATE"] = chain.reduced.saturation_level
    return header


def show(name: str, seconds: float, sources: int, found: Accuracy) -> None:
    """Print one row."""
    print(
        f"| {name} | {seconds:.2f} core-s | {sources} sources | bright {found.scatter_mmag:.1f} mmag | "
        f"place {found.place_mas:.1f} mas | complete {found.completeness:.4f} | pure {found.purity:.4f} | "
        f"pull {found.faint_pull:.3f} | crowded {found.crowded_mmag:.1f} mmag |"
    )


def main() -> None:
    """Measure the fields named, or all."""
    words = sys.argv[1:]
    alone = "--alone" in words
    for field in [word for word in words if not word.startswith("--")] or FIELDS:
        run(field, alone=alone)


if __name__ == "__main__":
    main()
