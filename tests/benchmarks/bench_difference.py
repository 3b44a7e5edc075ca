"""Differencing and candidates on full-size pairs: core seconds of each stage, and what is found.

    python tests/benchmarks/bench_difference.py [ours] [plain] [cut] [seed ...]

ours: our chain on a pair of 3072 x 3080 px with 10,000 stars, 1,000 galaxies and 600 transients.
plain: beside it the formulas on the whole frame at once in NumPy, one PSF, the same noise terms and search.
cut: our engine and the package `sfft` on 1024 x 1024 px of a pair of their own; `sfft` is measured where it
can be imported (a venv of its own: PYTHONPATH=.../site-packages).

Every engine gets the same masks, background, scale and registration; candidates are searched alike. The PSFs
given are wrong by 0.5 % in width; stars wander by 0.03 px, on top of a shift of 0.04 px. Seeds: 901 on.
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import dataclasses  # noqa: E402 - threads are set first
import resource  # noqa: E402 - as above
import sys  # noqa: E402 - as above
import time  # noqa: E402 - as above
from itertools import pairwise  # noqa: E402 - as above
from pathlib import Path  # noqa: E402 - as above

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import numpy as np  # noqa: E402 - as above
from difference_builders import make_pair, model_of, nearest, robust_width, sides  # noqa: E402

from zsds_tasks.errors import ConfigurationError  # noqa: E402 - as above
from zsds_tasks.pixels.subtraction import Buffers  # noqa: E402 - as above
from zsds_tasks.products.masks import UNUSABLE, MaskBit  # noqa: E402 - as above
from zsds_tasks.science.candidates.detect import DetectConfig, detect  # noqa: E402 - as above
from zsds_tasks.science.candidates.measure import MeasureConfig, measure  # noqa: E402 - as above
from zsds_tasks.science.difference.align import AlignConfig, align  # noqa: E402 - as above
from zsds_tasks.science.difference.assess import AssessConfig, judge, measure_difference  # noqa: E402
from zsds_tasks.science.difference.background import LevelConfig, match_background  # noqa: E402 - as above
from zsds_tasks.science.difference.engines import EngineConfig, engine_of  # noqa: E402 - as above
from zsds_tasks.science.difference.subtract import (  # noqa: E402 - as above
    DifferenceConfig,
    DifferenceImage,
    join_masks,
    scaled,
)

CONFIG = DifferenceConfig(align=AlignConfig(brightest_mag=13.0, faintest_mag=19.5))
FULL, CUT = (3072, 3080), (1024, 1024)
SATURATION = 50_000.0
BINS = (3, 4, 5, 5.5, 6, 7, 10, 20, 1e9)
SETTINGS = {"shift": (0.03, 0.025), "jitter": 0.03, "factor": 1.3, "transient_flux": (80.0, 8000.0)}


def say(*cells):
    sys.stdout.write("| " + " | ".join(str(cell) for cell in cells) + " |\n")
    sys.stdout.flush()


class Clock:
    """Core seconds of stages, in order."""

    def __init__(self):
        self.seconds = {}

    def run(self, name, function, *arguments):
        began = time.process_time()
        result = function(*arguments)
        self.seconds[name] = time.process_time() - began
        return result


def world(seed, shape, transients=600):
    """A pair, both sides with models of PSFs that are a little wrong, and the mask of saturated pixels."""
    share = shape[0] * shape[1] / (FULL[0] * FULL[1])
    counts = {"stars": 10_000, "galaxies": 1000, "transients": transients}
    pair = make_pair(seed, shape=shape, **{k: round(n * share) for k, n in counts.items()}, **SETTINGS)
    mask = np.zeros(shape, np.uint16)
    mask[(pair.new > SATURATION) | (pair.ref > SATURATION * pair.settings.factor)] = MaskBit.SATURATED.flag
    models = [
        model_of(dataclasses.replace(psf, fwhm=psf.fwhm * wrong))
        for psf, wrong in ((pair.new_psf, 1.005), (pair.ref_psf, 0.995))
    ]
    both = sides(pair, mask=mask)
    both = [dataclasses.replace(side, psf=psf) for side, psf in zip(both, models, strict=True)]
    return pair, both


def prepared(both, clock):
    """Everything before the engine: alignment, mask, scaled and levelled frames."""
    science, reference = both
    shape = science.image.shape
    zero_points = (science.zero_point, reference.zero_point)
    found = clock.run("align", align, science.stars, reference.stars, zero_points, shape, CONFIG.align)
    mask = clock.run("mask", join_masks, science, reference, CONFIG)
    new, ref = scaled(science.frame(), reference.frame(), found.factor, "science")
    level = clock.run("level", match_background, new, ref, mask, UNUSABLE, LevelConfig())
    return found, mask, dataclasses.replace(new, level=level), ref, level


def candidates_of(score, clock):
    every = clock.run("detect", detect, score, DetectConfig())
    return every.brighter_than(5.0)


def expected_snr(pair, noise, flux_score):
    """S/N of the transients for noise of sky and of their own light, and a factor for what lies under."""
    k = np.rint(pair.ty).astype(int), np.rint(pair.tx).astype(int)
    s = pair.settings
    light = np.maximum(pair.new[k], 0) / s.gain + np.maximum(pair.ref[k], 0) / (s.ref_gain * s.factor)
    return np.abs(pair.tflux) / np.sqrt(1 / flux_score * (1 + light / noise**2))


def score_of(pair, found, noise, flux_score):
    """Completeness by S/N, S/N of half, and how many candidates are no transient."""
    near, distance = nearest(pair.tx, pair.ty, found.x, found.y)
    hit = (distance < 1.5) & (found.sign[near] == np.sign(pair.tflux))
    snr = expected_snr(pair, noise, flux_score)
    rows = []
    for low, high in pairwise(BINS):
        inside = (snr >= low) & (snr < high)
        rows.append((int(inside.sum()), float(hit[inside].mean()) if inside.any() else np.nan))
    away = nearest(found.x, found.y, pair.tx, pair.ty)[1] > 3.0
    grid = np.arange(3.5, 7.0, 0.02)
    # Half point: where as many are missed above as are found below.
    balance = [np.count_nonzero(hit & (snr < g)) - np.count_nonzero(~hit & (snr >= g)) for g in grid]
    return rows, float(grid[int(np.argmin(np.abs(balance)))]), int(away.sum()), (near, hit, snr)


def show(label, seconds, score):
    rows, half, bogus, _ = score
    shares = [f"{share:.0%} of {n}" for n, share in rows]
    say(label, f"{seconds:.2f}", *shares, f"{half:.2f}", bogus)


def ours(seed, pair, both):
    buffers = Buffers.of(pair.new.shape)
    for _ in range(2):  # the first round warms up
        clock = Clock()
        alignment, mask, new, ref, level = prepared(both, clock)
        errors = (alignment.sigma_x, alignment.sigma_y)
        engine = engine_of(EngineConfig())
        found = clock.run("zogy", engine, new, ref, mask, UNUSABLE, errors, buffers)
        candidates = candidates_of(found.score, clock)
        settings = (found, mask, candidates, both[0].zero_point, 20.5, MeasureConfig())
        table = clock.run("measure", measure, *settings)
        made = DifferenceImage(found, mask, both[0].zero_point, alignment, level, 1.0, "zogy", "science")
        scores = candidates.score[candidates.sign > 0], candidates.score[candidates.sign < 0]
        metrics = clock.run("assess", measure_difference, made, scores, AssessConfig())
    result = score_of(pair, candidates, float(np.median(found.noise)), float(np.median(found.flux_score)))
    near, hit, snr = result[3]
    total = sum(clock.seconds.values())
    show(f"ours, seed {seed}", total, result)
    say("stages", ", ".join(f"{name} {seconds:.3f}" for name, seconds in clock.seconds.items()))
    verdict = judge(metrics, AssessConfig())
    say("quality", verdict.status, *verdict.reasons, f"scatter of S_corr {metrics.score_scatter:.3f}")
    bright = hit & (snr > 20)
    ratio = table["flux"][near] / np.abs(pair.tflux)
    pull = ((table["flux"][near] - np.abs(pair.tflux)) / table["sigflux"][near])[hit & (snr > 8)]
    say(
        "photometry",
        f"median flux ratio of S/N > 20 {np.median(ratio[bright]):.4f}",
        f"pulls {robust_width(pull):.2f}",
        f"{len(candidates)} candidates",
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB",
    )
    return alignment, mask, new, ref


def plain(seed, pair, given):
    """The formulas of Zackay et al. 2016 as they stand: whole frame, one PSF, transforms only."""
    alignment, mask, new, ref = given
    began = time.process_time()
    shape = mask.shape
    bad = (mask & UNUSABLE) != 0
    images, variances, spectra, stamps = [], [], [], []
    for frame in (new, ref):
        image = frame.image if frame.level is None else frame.image - frame.level.expand()
        image = np.where(bad, 0, frame.scale[0] * image)
        sigma = frame.scale[0] * float(np.median(frame.noise.values))
        images.append(image)
        variances.append((sigma, sigma**2 + frame.scale[0] * np.maximum(image, 0) / frame.gain))
        stamp = frame.psf.stamp((shape[1] - 1) / 2, (shape[0] - 1) / 2).astype(float)
        whole = np.zeros(shape)
        whole[:25, :25] = stamp / stamp.sum()
        stamps.append(np.fft.rfft2(np.roll(whole, (-12, -12), (0, 1))))
        spectra.append(np.fft.rfft2(image))
    (s_n, v_n), (s_r, v_r) = variances
    p, q = stamps
    den2 = s_n**2 * abs(q) ** 2 + s_r**2 * abs(p) ** 2
    kernels = np.conj(p) * abs(q) ** 2 / den2, np.conj(q) * abs(p) ** 2 / den2
    flux_score = float(np.mean((abs(p) * abs(q)) ** 2 / den2))
    np.fft.irfft2((q * spectra[0] - p * spectra[1]) / np.sqrt(den2), s=shape)  # D
    scores = [np.fft.irfft2(k * f, s=shape) for k, f in zip(kernels, spectra, strict=True)]
    variance = 0.0
    for k, v in zip(kernels, (v_n, v_r), strict=True):
        square = np.fft.rfft2(np.fft.irfft2(k, s=shape) ** 2)
        variance = variance + np.fft.irfft2(square * np.fft.rfft2(v), s=shape)
    for s in scores:
        for axis, error in ((1, alignment.sigma_x), (0, alignment.sigma_y)):
            variance = variance + (error * (s - np.roll(s, 1, axis))) ** 2
    score = ((scores[0] - scores[1]) / np.sqrt(variance)).astype(np.float32)
    score[bad] = np.nan
    seconds = time.process_time() - began
    found = candidates_of(score, Clock())
    show(f"plain ZOGY, seed {seed}", seconds, score_of(pair, found, float(np.hypot(s_n, s_r)), flux_score))


def cut(seed):
    """Both engines on a small pair."""
    pair, both = world(seed, CUT)
    alignment, mask, new, ref, _ = prepared(both, Clock())
    for name in ("zogy", "sfft"):
        clock = Clock()
        engine = engine_of(EngineConfig(name=name))
        try:
            for _ in range(2):
                found = clock.run(
                    name, engine, new, ref, mask, UNUSABLE, (alignment.sigma_x, alignment.sigma_y)
                )
        except ConfigurationError as error:
            say(name, error.reason)
            continue
        candidates = candidates_of(found.score, clock)
        noise, flux_score = float(np.median(found.noise)), float(np.median(found.flux_score))
        show(
            f"{name}, 1 Mpx, seed {seed}", clock.seconds[name], score_of(pair, candidates, noise, flux_score)
        )


def main(words):
    seeds = [int(word) for word in words if word.isdigit()] or [901]
    wanted = [word for word in words if not word.isdigit()] or ["ours", "plain", "cut"]
    spans = [f"S/N {a:g}-{b:g}" for a, b in pairwise(BINS)]
    say("engine", "core-s", *spans, "half", "no transient")
    for seed in seeds:
        if "ours" in wanted or "plain" in wanted:
            pair, both = world(seed, FULL)
            given = ours(seed, pair, both)
            if "plain" in wanted:
                plain(seed, pair, given)
        if "cut" in wanted:
            cut(seed)


if __name__ == "__main__":
    main(sys.argv[1:])
