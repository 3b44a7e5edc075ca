"""Measure calibration masters against numpy and astropy in the same run; print rows of docs/benchmarks.md.

    python tests/benchmarks/bench_calibration.py [camera] [frames]

Frames are seeded noise of the camera's own quadrant, so many biases and as many flats. Peers do the same
sums: astropy's sigma_clip (3 sigma, MAD), numpy's median and 1.4826 MAD, both on stacks detrended already.
"""

import sys
import time
import warnings
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import numpy as np  # noqa: E402 - the path comes first
from astropy.stats import sigma_clip  # noqa: E402 - the path comes first

from zsds_tasks.science.calibration.badpixels import BadPixelConfig, flag_bad_pixels  # noqa: E402 - as above
from zsds_tasks.science.calibration.detrend import detrend  # noqa: E402 - as above
from zsds_tasks.science.calibration.masters import (  # noqa: E402 - as above
    BiasConfig,
    ChannelFacts,
    FlatConfig,
    Readout,
    build_bias,
    build_flat,
)
from zsds_tasks.science.calibration.overscan import OverscanConfig, fit_overscan  # noqa: E402 - as above
from zsds_tasks.science.calibration.stacking import clipped_mean  # noqa: E402 - as above
from zsds_tasks.settings import REPOSITORY  # noqa: E402 - as above
from zsds_tasks.survey.camera import load_camera  # noqa: E402 - as above

NOISE = 1.6


def clocked(function):
    """Return the result and core seconds of a call."""
    core = time.process_time()
    result = function()
    return result, time.process_time() - core


def frames_of(shape, count, level, rng):
    made = []
    for number in range(count):
        sigma = np.sqrt(NOISE**2 + level / 6.2)
        image = 1800 + level + sigma * rng.standard_normal((shape.ny, shape.nx), dtype=np.float32)
        strip = 1800 + NOISE * rng.standard_normal((shape.ny, shape.overscan), dtype=np.float32)
        image[rng.integers(0, shape.ny, 200), rng.integers(0, shape.nx, 200)] += 3000  # cosmic rays
        made.append(
            Readout(str(number), np.rint(image).astype(np.uint16), np.rint(strip).astype(np.uint16), 7)
        )
    return made


def by_numpy(raw, level, bias, flat, a, b):
    x = raw.astype(np.float32) - level[:, None]
    x /= (a * x + b) * x + 1
    x -= bias
    x /= flat
    return x


def by_sigma_clip(stack):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sigma_clip(stack, sigma=3, stdfunc="mad_std", axis=0, masked=False, copy=True)


def by_mad(stack):
    middle = np.median(stack, axis=0)
    off = np.abs(stack - middle)
    kept = off <= 3 * 1.4826 * np.median(off, axis=0)
    return np.sum(stack, axis=0, where=kept) / np.count_nonzero(kept, axis=0)


def core_scatter(image):
    """Return the standard deviation inside 3 DN: a MAD would see the steps of whole counts."""
    return float(np.std(image[np.abs(image) < 3], dtype=np.float64))


def say(what, core, per, note=""):
    sys.stdout.write(f"| {what} | {core:.2f} | {per:.3f} | {note} |\n")


def main(camera="ztf", count=10):
    shape = load_camera(camera, REPOSITORY / "include").quadrant
    rng = np.random.default_rng(1)
    biases = frames_of(shape, count, 0.0, rng)
    channel = ChannelFacts(1, 6.2, 58000.0, (-6.9e-12, 1.9e-7))
    warm = [Readout(r.name, r.image[:200].copy(), r.overscan[:200].copy(), 7) for r in biases[:3]]
    build_bias(warm, channel, OverscanConfig(), BiasConfig())
    sys.stdout.write(f"camera {camera}: {shape.nx} x {shape.ny} pixels, {count} frames, one thread\n")
    sys.stdout.write("| what | core-s | per frame | note |\n|---|---|---|---|\n")
    (model, core) = clocked(lambda: fit_overscan(biases[0].overscan, 1, OverscanConfig()))
    say("overscan", core, core)
    flat, bias = np.ones(biases[0].image.shape, np.float32), np.zeros(biases[0].image.shape, np.float32)
    out = np.empty_like(bias)
    facts = {"linearity": channel.linearity, "saturation": 58000.0, "bias": bias, "flat": flat, "out": out}
    _, core = clocked(lambda: detrend(biases[0].image, model.level, **facts))
    say("detrend: overscan, linearity, bias, flat", core, core)
    _, core = clocked(lambda: by_numpy(biases[0].image, model.level, bias, flat, *channel.linearity))
    say("peer: numpy, the same in place", core, core)
    stack = np.stack([r.image.astype(np.float32) - 1800 for r in biases])
    sigma = np.full(count, NOISE)
    ours, core = clocked(lambda: clipped_mean(stack, sigma))
    say("clipped mean, uncertainty, scatter", core, core / count, f"scatter {core_scatter(ours.mean):.4f} DN")
    theirs, core = clocked(lambda: by_mad(stack))
    say(
        "peer: numpy median and MAD, mean alone", core, core / count, f"scatter {core_scatter(theirs):.4f} DN"
    )
    rows = slice(0, shape.ny // 10)
    theirs, core = clocked(lambda: np.nanmean(by_sigma_clip(stack[:, rows]), axis=0, dtype=np.float32))
    core *= shape.ny / (shape.ny // 10)
    note = f"measured on a tenth of the rows; scatter {core_scatter(theirs):.4f} DN"
    say("peer: astropy sigma_clip, mean alone", core, core / count, note)
    master, core = clocked(lambda: build_bias(biases, channel, OverscanConfig(), BiasConfig()))
    say("master bias, all of it", core, core / count)
    flats = frames_of(shape, count, 25000.0, rng)
    response, core = clocked(lambda: build_flat(flats, channel, master.image, OverscanConfig(), FlatConfig()))
    say("high-frequency flat, all of it", core, core / count, f"uncertainty {response.noise:.2e}")
    _, core = clocked(lambda: flag_bad_pixels(master, [response], BadPixelConfig()))
    say("bad pixels", core, core)


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(word) for word in sys.argv[2:3]))
