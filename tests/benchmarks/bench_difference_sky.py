"""Differencing on simulated skies, from raw frames on: chain, reference of several epochs, transients.

    python tests/benchmarks/bench_difference_sky.py [sky:seeing:seed ...]      default: ordinary:1.6:911

Four exposures of one night are calibrated and stacked, a fifth is the science image. Into its calibrated
pixels 600 transients are drawn with the measured PSF and their photon noise, a third of them on galaxies.
The PSF and the stars of the reference are measured once it lies on the grid of the science image.
"""
# ruff: noqa: T201 - a benchmark prints its table

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import sys  # noqa: E402 - threads are set first
import time  # noqa: E402 - as above
from dataclasses import replace  # noqa: E402 - as above
from itertools import pairwise  # noqa: E402 - as above
from pathlib import Path  # noqa: E402 - as above

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import numpy as np  # noqa: E402 - as above
from bench_science import chain_of  # noqa: E402 - as above
from difference_builders import nearest, robust_width  # noqa: E402 - as above

from zsds_tasks.pixels.background import BackgroundConfig, measure_background  # noqa: E402 - as above
from zsds_tasks.pixels.warp import CoarseMap, warp, warp_linear  # noqa: E402 - as above
from zsds_tasks.products.masks import UNUSABLE  # noqa: E402 - as above
from zsds_tasks.science.candidates.detect import DetectConfig, detect  # noqa: E402 - as above
from zsds_tasks.science.candidates.measure import MeasureConfig, measure  # noqa: E402 - as above
from zsds_tasks.science.difference.align import StarList  # noqa: E402 - as above
from zsds_tasks.science.difference.assess import AssessConfig, judge, measure_difference  # noqa: E402
from zsds_tasks.science.difference.subtract import DifferenceConfig, Side, subtract  # noqa: E402
from zsds_tasks.science.photometry.psf_sources import (  # noqa: E402 - as above
    box_flags,
    measure_point_sources,
)
from zsds_tasks.science.reference.build import Epoch, build_reference, pixel_map  # noqa: E402 - as above
from zsds_tasks.settings import load_settings  # noqa: E402 - as above
from zsds_tasks.simulator.testbed import SKIES, expose_quadrant  # noqa: E402 - as above
from zsds_tasks.steps.exposure.configuration import load_exposure_config  # noqa: E402 - as above
from zsds_tasks.steps.exposure.given import Buffers  # noqa: E402 - as above

EPOCHS = 4
PLANTED = 600
BINS = (3, 4, 5, 5.5, 6, 7, 10, 20, 1e9)
STEADY = ("star", "galaxy")


def calibrated(sky, seeing, seed, number, config):
    exposed = expose_quadrant(
        load_settings().include,
        seed=seed,
        place=SKIES[sky],
        seeing_arcsec=seeing,
        without=("asteroids", "satellites"),
        number=number,
    )
    chain = chain_of(exposed, config, Buffers.of(exposed.raw.shape)).run()
    return exposed, chain


def star_list(points, mask, zero_point):
    mag = zero_point - 2.5 * np.log10(np.maximum(points.flux, 1e-3))
    usable = ((box_flags(mask, points.xpos, points.ypos) & UNUSABLE) == 0) & ~points.is_hidden
    is_star = (np.abs(points.sharp) < 0.15).astype(float)
    return StarList(points.xpos, points.ypos, points.flux, points.sigflux, mag, is_star, usable)


def stacked(chains):
    """The reference of some chains."""
    epochs = [
        Epoch(
            k,
            c.solution.wcs,
            c.shape,
            c.zero_point.magzp,
            c.background.noise,
            c.given.facts.gain,
            c.psf.fwhm * c.pixel_scale_arcsec,
            c.depth.limit,
            lambda c=c: (c.image, c.mask),
        )
        for k, c in enumerate(chains)
    ]
    return build_reference(epochs, chains[0].given.filter_name)


def on_grid(reference, chain, config):
    """The reference on the grid of the science image: as a side, its sources, core seconds of resampling."""
    chart = CoarseMap.of(pixel_map(chain.solution.wcs, reference.wcs), chain.shape)
    empty = np.zeros(reference.shape, np.uint16)
    began = time.process_time()
    warped = warp(reference.image, empty, 0, chart, variance=reference.uncertainty**2)
    coverage = warp_linear(reference.coverage.astype(np.float32), chart)
    seconds = time.process_time() - began
    mask = np.where(np.isfinite(warped.image), 0, UNUSABLE).astype(np.uint16)
    noise = measure_background(warped.image, mask, UNUSABLE, BackgroundConfig(patch_sigma=5.0)).noise
    image = np.where(mask == 0, warped.image, 0).astype(np.float32)
    points = measure_point_sources(image, mask, noise, reference.gain, config.psf)
    stars = star_list(points, mask, reference.zero_point)
    sigma = np.sqrt(warped.variance)
    # As in the pipeline: the noise that counts is that of sums over a PSF; single pixels scatter by less.
    typical = np.full_like(noise.values, np.nanmedian(sigma[::5, ::5]))
    return Side(
        warped.image, replace(noise, values=typical), reference.gain, points.psf, reference.zero_point, stars,
        coverage=coverage, uncertainty=sigma.astype(np.float32),
    ), points, seconds  # fmt: skip


def plant(chain, truth, seed):
    """Draw transients into the calibrated image; return x, y (0-based) and flux."""
    rng = np.random.default_rng(seed)
    ny, nx = chain.shape
    x, y = rng.uniform(30, nx - 31, PLANTED), rng.uniform(30, ny - 31, PLANTED)
    hosts = truth[(truth.kind == "galaxy") & (truth.flux_dn > 300)]
    hosts = hosts[hosts.x.between(40, nx - 40) & hosts.y.between(40, ny - 40)]
    chosen = hosts.sample(min(PLANTED // 3, len(hosts)), random_state=seed)
    n = len(chosen)
    x[:n], y[:n] = chosen.x + rng.normal(0, 1.5, n) - 1, chosen.y + rng.normal(0, 1.5, n) - 1
    noise = float(np.median(chain.background.noise.values))
    error = noise * np.sqrt(chain.psf.n_eff(nx / 2, ny / 2))
    flux = error * np.exp(rng.uniform(np.log(3), np.log(100), PLANTED))
    for px, py, f in zip(x, y, flux, strict=True):
        i, j = round(py), round(px)
        light = f * chain.psf.stamp(px, py, 25, (px - j, py - i)).astype(float)
        gain = chain.given.facts.gain
        light += rng.normal(0, 1, light.shape) * np.sqrt(np.maximum(light, 0) / gain)
        chain.image[i - 12 : i + 13, j - 12 : j + 13] += light.astype(np.float32)
    return x, y, flux


def run(word):
    sky, seeing, seed = word.split(":")
    config = load_exposure_config(load_settings().include)
    made = [calibrated(sky, float(seeing), int(seed), k, config) for k in range(EPOCHS + 1)]
    exposed, science = made[-1]
    reference = stacked([chain for _, chain in made[:-1]])
    del made
    truth = exposed.detections.to_pandas()
    x, y, flux = plant(science, truth, int(seed))
    ref, _, warp_seconds = on_grid(reference, science, config)
    points, zero_point = science.points, science.zero_point.magzp
    stars = star_list(points, science.mask, zero_point)
    new = Side(
        science.image, science.background.noise, science.given.facts.gain, science.psf, zero_point, stars,
        science.mask,
    )  # fmt: skip
    for _ in range(2):
        began = time.process_time()
        difference = subtract(new, ref, DifferenceConfig(), subject=word)
        middle = time.process_time()
        every = detect(difference.subtraction.score, DetectConfig())
        found = every.brighter_than(5.0)
        arguments = (difference.zero_point, 20.5, MeasureConfig())
        table = measure(difference.subtraction, difference.mask, found, *arguments)
        ended = time.process_time()
    print(f"\n{word}: warp {warp_seconds:.2f}, subtract {middle - began:.2f}, candidates "
          f"{ended - middle:.2f} core-s; {len(every)} peaks over 3, {len(found)} over 5")  # fmt: skip
    report(difference, science, truth, (x, y, flux), found, table)


def report(difference, science, truth, planted, found, table):
    """Print what was found and what was not planted."""
    x, y, flux = planted
    scores = found.score[found.sign > 0], found.score[found.sign < 0]
    metrics = measure_difference(difference, scores, AssessConfig())
    print(judge(metrics, AssessConfig()))
    print({name: round(value, 4) for name, value in metrics.as_dict().items()})
    row, column = np.rint(y).astype(int), np.rint(x).astype(int)
    usable = np.isfinite(difference.subtraction.score[row, column])
    near, distance = nearest(x, y, found.x, found.y)
    hit = (distance < 1.5) & (found.sign[near] > 0)
    tile = difference.subtraction.tiles.at(x, y)
    noise, per_flux = difference.subtraction.noise[tile], difference.subtraction.flux_score[tile]
    light = np.maximum(science.image[row, column], 0) / science.given.facts.gain
    snr = flux / np.sqrt((1 + light / noise**2) / per_flux)
    for low, high in pairwise(BINS):
        inside = (snr >= low) & (snr < high) & usable
        print(
            f"S/N {low:g}-{high:g}: {hit[inside].mean() if inside.any() else 0:.1%} of {inside.sum()}",
            end="; ",
        )
    bright = hit & (snr > 20)
    ratio = table["flux"][near] / flux
    pull = ((table["flux"][near] - flux) / table["sigflux"][near])[hit & (snr > 8)]
    print(f"\nflux ratio {np.median(ratio[bright]):.4f}, pulls {robust_width(pull):.2f}, "
          f"usable {usable.mean():.1%}")  # fmt: skip
    steady = truth.kind.isin(STEADY)
    changing = truth[~steady]
    away = nearest(found.x, found.y, x, y)[1] > 3
    if len(changing):
        away &= nearest(found.x, found.y, changing.x.to_numpy() - 1, changing.y.to_numpy() - 1)[1] > 2
    star, gap = nearest(found.x, found.y, truth.x.to_numpy() - 1, truth.y.to_numpy() - 1)
    mags = difference.zero_point - 2.5 * np.log10(np.maximum(truth.flux_dn.to_numpy(), 1))
    clean = away & (table["nbad"] == 0)
    print(f"not real: {away.sum()} ({(away & (found.sign > 0)).sum()} positive), without flagged pixels "
          f"{clean.sum()}; within 3 px of a source {(gap[away] < 3).sum()}, magnitudes of it "
          f"{np.round(np.percentile(mags[star[away]], [10, 50, 90]), 1) if away.any() else '-'}")  # fmt: skip


if __name__ == "__main__":
    for argument in sys.argv[1:] or ["ordinary:1.6:911"]:
        run(argument)
