"""Other programs that subtract images, on the same pairs as ours: hotpants, and the packages sfft and PyZOGY.

None is a dependency. hotpants is found on the path or by ZSDS_HOTPANTS, packages in ZSDS_PEERS (folders with
":" between: site-packages, a checkout). Every engine gives a score, searched alike, and core seconds.

    hotpants, sfft   match the reference to the science image; the difference is scored like ours, with its
                     PSF, and over its robust scatter, as convolving correlates the noise.
    PyZOGY           its own D, PSF of D, matched filter and noise; over the robust scatter too.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from zsds_tasks.errors import ConfigurationError
from zsds_tasks.pixels.zogy import Frame, ZogyConfig, subtract_frames
from zsds_tasks.products.masks import UNUSABLE
from zsds_tasks.science.difference.align import align
from zsds_tasks.science.difference.background import match_background
from zsds_tasks.science.difference.engines import EngineConfig, engine_of
from zsds_tasks.science.difference.subtract import (
    DifferenceConfig,
    Side,
    join_masks,
    scaled,
    subtract,
)

SIGMA_PER_MAD = 1.4826
PATIENCE_S = 900
LARGEST_LOSS = 0.5
HOTPANTS_SIGMA = 1.4
"""Least width, px, of the middle one of its three Gaussians: its own by default."""


class MissingError(Exception):
    """A peer that cannot be had here, and why."""


@dataclass(frozen=True)
class Given:
    """What every engine starts from: frames on one flux scale, one mask, errors of the registration."""

    new: Frame
    ref: Frame
    mask: np.ndarray
    registration: tuple[float, float]
    saturation: float

    @property
    def holes(self) -> np.ndarray:
        """Pixels unusable in either image."""
        return ((self.mask & UNUSABLE) != 0) | ~np.isfinite(self.new.image) | ~np.isfinite(self.ref.image)

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Science image and reference (ny, nx) in DN of the science image, 0 in holes."""
        both = []
        for frame in (self.new, self.ref):
            image = frame.image.astype(np.float64) * frame.scale[0]
            if frame.level is not None:
                image -= frame.level.expand() * frame.scale[0]
            both.append(np.where(self.holes, 0.0, image))
        return both[0], both[1]

    @property
    def sigmas(self) -> tuple[float, float]:
        """Noise of a pixel of blank sky of both, DN."""
        a, b = (float(np.median(f.noise.values)) * abs(f.scale[0]) for f in (self.new, self.ref))
        return a, b


def prepared(science: Side, reference: Side, config: DifferenceConfig, saturation: float) -> Given:
    """Align, mask and level once for all engines."""
    zero_points, shape = (science.zero_point, reference.zero_point), science.image.shape
    found = align(science.stars, reference.stars, zero_points, shape, config.align)
    mask = join_masks(science, reference, config)
    new, ref = scaled(science.frame(), reference.frame(), found.factor, "science")
    level = match_background(new, ref, mask, UNUSABLE, config.level)
    return Given(replace(new, level=level), ref, mask, (found.sigma_x, found.sigma_y), saturation)


def ours(given: Given, science: Side, reference: Side, config: DifferenceConfig) -> tuple[np.ndarray, float]:
    """S_corr of our chain, and core seconds of all that differencing does."""
    began = time.process_time()
    made = subtract(science, reference, config)
    return made.subtraction.score, time.process_time() - began


def sfft(given: Given, *_) -> tuple[np.ndarray, float]:
    """The package sfft by our own adaptor."""
    _find_packages()
    began = time.process_time()
    try:
        found = engine_of(EngineConfig(name="sfft"))(
            given.new, given.ref, given.mask, UNUSABLE, given.registration
        )
    except ConfigurationError as error:
        raise MissingError(f"{error.reason}: {error.facts.get('cause', '')}") from error
    return found.score, time.process_time() - began


def hotpants(given: Given, *_) -> tuple[np.ndarray, float]:
    """Alard and Lupton's kernel of Gaussians, as hotpants fits it."""
    program = os.environ.get("ZSDS_HOTPANTS") or shutil.which("hotpants")
    if not program:
        raise MissingError("no program hotpants; name it in ZSDS_HOTPANTS")
    light, template = given.images()
    widths = [
        2.3548 * (2 * f.psf.stamp(*_middle(light)).max() * np.pi) ** -0.5 for f in (given.new, given.ref)
    ]
    wanted = max(float(np.sqrt(max(widths[0] ** 2 - widths[1] ** 2, 0.0))) / 2.3548, HOTPANTS_SIGMA)
    radius = int(np.ceil(min(max(2.5 * widths[0], 6), 12)))
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.fits" for name in ("new", "ref", "newmask", "refmask", "out")}
        for name, image in (("new", light), ("ref", template)):
            fits.writeto(paths[name], image.astype(np.float32))
            fits.writeto(paths[name + "mask"], given.holes.astype(np.int16))
        low = {name: str(-20 * sigma) for name, sigma in zip("it", given.sigmas, strict=True)}
        command = [
            program, "-inim", paths["new"], "-tmplim", paths["ref"], "-outim", paths["out"],
            "-imi", paths["newmask"], "-tmi", paths["refmask"], "-il", low["i"], "-tl", low["t"],
            "-iu", given.saturation, "-tu", given.saturation, "-ig", given.new.gain,
            "-tg", given.ref.gain / given.ref.scale[0], "-ip", -_sky(given, 0), "-tp", -_sky(given, 1),
            "-c", "t", "-n", "i", "-ko", "1", "-bgo", "1", "-r", radius, "-rss", radius + 6,
            "-ng", "3", "6", f"{0.5 * wanted:.3f}", "4", f"{wanted:.3f}", "2", f"{2 * wanted:.3f}", "-v", "0",
        ]  # fmt: skip
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, timeout=PATIENCE_S, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if not paths["out"].exists():
            raise MissingError(f"hotpants ended with {done.returncode}: {done.stderr[-200:]!r}")
        difference = fits.getdata(paths["out"]).astype(np.float64)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _scored(given, light, difference), seconds


def pyzogy(given: Given, *_) -> tuple[np.ndarray, float]:
    """The formulas as PyZOGY has them: whole frame, one PSF."""
    _find_packages()
    try:
        from PyZOGY import subtract as engine
        from PyZOGY.image_class import ImageClass
    except ImportError as error:
        raise MissingError(f"PyZOGY cannot be imported: {error}") from error
    light, template = given.images()
    began = time.process_time()
    both = []
    for frame, image, sigma in zip((given.new, given.ref), (light, template), given.sigmas, strict=True):
        stamp = np.array(frame.psf.stamp(*_middle(image)), np.float64)
        variance = sigma**2 + np.maximum(image, 0) * abs(frame.scale[0]) / frame.gain
        both.append(
            ImageClass(
                image, stamp, given.holes.copy(), variance=variance, registration_noise=given.registration
            )
        )
        # Its noise is a quartile distance of the whole image, light of sources included: ours for both.
        both[-1].background_std = sigma
    difference = engine.calculate_difference_image(*both, gain_ratio=1.0)
    scale = engine.calculate_difference_image_zero_point(*both)
    psf = engine.calculate_difference_psf(*both, scale)
    matched = engine.calculate_matched_filter_image(difference, psf, scale).real
    noise = np.sqrt(np.abs(engine.correct_matched_filter_image(*both)))
    score = (matched / noise).astype(np.float32)
    score[given.holes] = np.nan
    return _over_scatter(score), time.process_time() - began


ENGINES = {"ours": ours, "sfft": sfft, "hotpants": hotpants, "PyZOGY": pyzogy}


def _scored(given: Given, light: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Score of a difference whose reference has been given the PSF of the science image."""
    holes = given.holes | ~np.isfinite(difference) | (np.abs(difference) < 1e-20)
    if holes.mean() > LARGEST_LOSS:
        raise MissingError(f"no difference in {holes.mean():.0%} of the pixels")
    matched = np.where(holes, np.nan, light - difference).astype(np.float32)
    science = replace(
        given.new, image=np.where(holes, np.nan, light).astype(np.float32), level=None, scale=(1.0, 0.0, 0.0)
    )
    factor = abs(given.ref.scale[0])
    noise = replace(given.ref.noise, values=np.asarray(given.ref.noise.values * factor, np.float32))
    reference = Frame(matched, noise, given.ref.gain / factor, given.new.psf)
    found = subtract_frames(science, reference, given.mask, UNUSABLE, given.registration, ZogyConfig())
    return _over_scatter(found.score)


def _over_scatter(score: np.ndarray) -> np.ndarray:
    usable = score[np.isfinite(score)]
    return score / np.float32(SIGMA_PER_MAD * np.median(np.abs(usable - np.median(usable))))


def _middle(image: np.ndarray) -> tuple[float, float]:
    return (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2


def _sky(given: Given, k: int) -> float:
    """Sky that was subtracted, by its noise, DN: what Poisson noise of the whole image needs."""
    frame, sigma = (given.new, given.ref)[k], given.sigmas[k]
    return sigma**2 * frame.gain / abs(frame.scale[0])


def _find_packages() -> None:
    for folder in os.environ.get("ZSDS_PEERS", "").split(":"):
        if folder and folder not in sys.path:
            sys.path.append(folder)
