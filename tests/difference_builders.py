"""Pairs of images with known truth: two PSFs that vary over the field, stars, galaxies, transients, noise."""

from dataclasses import dataclass, field

import numpy as np

from zsds_tasks.pixels.mesh import Mesh

HALF = 16


@dataclass(frozen=True)
class TruePsf:
    """Two elliptical Gaussians: FWHM of the core in the middle (px), its relative slope, shape, angle."""

    fwhm: float
    shape: tuple
    slope: float = 0.03
    ellipticity: float = 0.06
    angle: float = 0.4
    wing: float = 0.15

    def light(self, x, y, dx, dy):
        """Light at offsets from stars at (x, y); sum about 1. Arrays that broadcast."""
        u, v = (2 * x + 1) / self.shape[1] - 1, (2 * y + 1) / self.shape[0] - 1
        sigma = self.fwhm / 2.3548 * (1 + self.slope * (u - 0.6 * v))
        c, s = np.cos(self.angle), np.sin(self.angle)
        p, q = c * dx + s * dy, c * dy - s * dx
        total = 0.0
        for weight, factor in ((1 - self.wing, 1.0), (self.wing, 2.0)):
            a, b = factor * sigma * (1 + self.ellipticity), factor * sigma * (1 - self.ellipticity)
            total = total + weight * np.exp(-0.5 * ((p / a) ** 2 + (q / b) ** 2)) / (2 * np.pi * a * b)
        return total

    def stamp(self, x, y, size=25, shift=(0.0, 0.0)):
        """What `zsds_tasks.pixels.psf_model.PsfModel.stamp` returns."""
        k = np.arange(size) - size // 2.0
        return self.light(x, y, k[None, :] - shift[0], k[:, None] - shift[1]).astype(np.float32)


def draw(psf, x, y, flux, image=None):
    """Add stars at 0-based places to an image."""
    ny, nx = psf.shape
    out = np.zeros((ny + 2 * HALF, nx + 2 * HALF))
    k = np.arange(-HALF, HALF + 1.0)
    for start in range(0, len(x), 500):
        sx, sy = (np.asarray(v[start : start + 500], float) for v in (x, y))
        j, i = np.rint(sx).astype(int), np.rint(sy).astype(int)
        dx, dy = k[None, None, :] - (sx - j)[:, None, None], k[None, :, None] - (sy - i)[:, None, None]
        stamps = psf.light(sx[:, None, None], sy[:, None, None], dx, dy)
        for n, stamp in enumerate(stamps):
            out[i[n] : i[n] + 2 * HALF + 1, j[n] : j[n] + 2 * HALF + 1] += flux[start + n] * stamp
    out = out[HALF:-HALF, HALF:-HALF]
    return out if image is None else image + out


@dataclass(frozen=True)
class Settings:
    """Of a pair."""

    shape: tuple = (641, 577)
    new_fwhm: float = 2.4
    ref_fwhm: float = 2.0
    new_noise: float = 8.0
    ref_noise: float = 2.5
    gain: float = 6.2
    ref_gain: float = 90.0
    stars: int = 250
    galaxies: int = 25
    transients: int = 40
    transient_flux: tuple = (150.0, 3000.0)
    shift: tuple = (0.0, 0.0)
    jitter: float = 0.0
    factor: float = 1.0
    brightest: float = 2e5


@dataclass(frozen=True)
class Pair:
    """Two images; the true light of the reference is `factor` brighter per unit of flux."""

    new: np.ndarray = field(repr=False)
    ref: np.ndarray = field(repr=False)
    new_psf: TruePsf
    ref_psf: TruePsf
    new_noise: Mesh
    ref_noise: Mesh
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    tx: np.ndarray
    ty: np.ndarray
    tflux: np.ndarray
    settings: Settings


def places(rng, n, shape, margin, apart=0.0, others=None):
    """Random places inside a margin, apart from one another and from others, px."""
    kept = np.empty((0, 2)) if others is None else np.asarray(others)
    start = len(kept)
    for _ in range(200 * n):
        if len(kept) - start >= n:
            break
        p = rng.uniform(margin, [shape[1] - 1 - margin, shape[0] - 1 - margin])
        if apart == 0 or not len(kept) or np.hypot(*(kept - p).T).min() > apart:
            kept = np.vstack([kept, p])
    return kept[start:].T


def make_pair(seed, **changes):
    """Stars with a power law of fluxes, galaxies as clumps of points, transients of both signs in the new."""
    s = Settings(**changes)
    rng = np.random.default_rng(seed)
    new_psf = TruePsf(s.new_fwhm, s.shape)
    ref_psf = TruePsf(s.ref_fwhm, s.shape, slope=-0.02, ellipticity=0.03, angle=1.3)
    x, y = places(rng, s.stars, s.shape, 0.0)
    flux = np.minimum(300.0 * rng.pareto(0.9, s.stars) + 100.0, s.brightest)
    gx, gy = places(rng, s.galaxies, s.shape, 10.0)
    clump = rng.normal(0, 1.6, (2, s.galaxies, 40))
    light = np.repeat(rng.uniform(500, 8000, s.galaxies) / 40, 40)
    ax = np.concatenate([x, (gx[:, None] + clump[0]).ravel()])
    ay = np.concatenate([y, (gy[:, None] + clump[1]).ravel()])
    aflux = np.concatenate([flux, light])
    inside = (ax > -0.4) & (ay > -0.4) & (ax < s.shape[1] - 0.6) & (ay < s.shape[0] - 0.6)
    ax, ay, aflux = ax[inside], ay[inside], aflux[inside]
    tx, ty = places(rng, s.transients, s.shape, 16.0, 14.0)
    tflux = np.exp(rng.uniform(*np.log(s.transient_flux), len(tx)))
    tflux *= np.where(rng.random(len(tx)) < 0.5, 1, -1) if s.transients else 1.0
    ref_light = s.factor * draw(ref_psf, ax, ay, aflux)
    # What faded is in the reference only: there both are drawn with that image's own PSF.
    gone = tflux < 0
    ref_light = draw(ref_psf, tx[gone], ty[gone], -s.factor * tflux[gone], ref_light)
    dx, dy = rng.normal(0, s.jitter, (2, len(ax))) if s.jitter else (0.0, 0.0)
    new_light = draw(new_psf, ax + s.shift[0] + dx, ay + s.shift[1] + dy, aflux)
    new_light = draw(new_psf, tx[~gone], ty[~gone], tflux[~gone], new_light)
    new = rng.poisson(np.maximum(new_light, 0) * s.gain) / s.gain + rng.normal(0, s.new_noise, s.shape)
    gain = s.ref_gain / s.factor
    ref = rng.poisson(np.maximum(ref_light, 0) * gain) / gain + s.factor * rng.normal(0, s.ref_noise, s.shape)
    noises = (Mesh.constant(n, s.shape, 64) for n in (s.new_noise, s.factor * s.ref_noise))
    return Pair(
        new.astype(np.float32), ref.astype(np.float32), new_psf, ref_psf, *noises,
        x, y, flux, tx, ty, tflux, s,
    )  # fmt: skip


def robust_width(values):
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def model_of(psf, degree=2, half=12):
    """A PSF as the model that would be measured if nothing were uncertain."""
    from zsds_tasks.pixels.psf_model import PsfModel, fitting_oversampling
    from zsds_tasks.pixels.psf_nodes import node_grid
    from zsds_tasks.pixels.psf_splines import terms_at

    steps = fitting_oversampling(psf.fwhm, 7.0)
    dx, dy = node_grid(half, steps)
    side = np.linspace(-1, 1, 2 * degree + 1)
    places, lights = [], []
    for v in side:
        for u in side:
            terms = np.zeros(6)
            terms_at(u, v, degree, terms)
            places.append(terms[: (degree + 1) * (degree + 2) // 2])
            x, y = (u + 1) * psf.shape[1] / 2 - 0.5, (v + 1) * psf.shape[0] / 2 - 0.5
            lights.append(psf.light(x, y, dx, dy))
    nodes = np.einsum("tp,pij->tij", np.linalg.pinv(np.array(places)), np.array(lights))
    return PsfModel.from_nodes(nodes, degree, psf.shape, half, steps)


def star_lists(pair, seed=0, zero_point=26.0):
    """What catalogues of both images would say of the stars: (science, reference)."""
    from zsds_tasks.science.difference.align import StarList

    rng = np.random.default_rng(seed)
    s = pair.settings
    lists = []
    for noise, gain, factor, shift in (
        (s.new_noise, s.gain, 1.0, s.shift),
        (s.ref_noise, s.ref_gain, s.factor, (0.0, 0.0)),
    ):
        error = np.sqrt(20 * noise**2 + pair.flux / gain)
        flux = pair.flux + error * rng.standard_normal(len(pair.flux))
        place = error / np.maximum(pair.flux, 1.0)
        x, y = (
            v + d + place * rng.standard_normal(len(v)) + 1
            for v, d in zip((pair.x, pair.y), shift, strict=True)
        )
        mag = zero_point - 2.5 * np.log10(np.maximum(flux, 1.0))
        ones = np.ones(len(flux))
        lists.append(StarList(x, y, factor * flux, factor * error, mag, ones, ones > 0))
    return tuple(lists)


def sides(pair, zero_point=26.0, mask=None, **changes):
    """Both images as `zsds_tasks.science.difference.subtract.subtract` takes them."""
    from zsds_tasks.science.difference.subtract import Side

    s = pair.settings
    stars = star_lists(pair, 5, zero_point)
    ref_zero_point = zero_point + 2.5 * np.log10(s.factor)
    science = Side(pair.new, pair.new_noise, s.gain, pair.new_psf, zero_point, stars[0], mask)
    gain = s.ref_gain / s.factor
    reference = Side(pair.ref, pair.ref_noise, gain, pair.ref_psf, ref_zero_point, stars[1], **changes)
    return science, reference


def nearest(x, y, of_x, of_y):
    """Index of the nearest of some places, and its distance."""
    from scipy.spatial import cKDTree

    distance, index = cKDTree(np.column_stack([of_x, of_y])).query(np.column_stack([x, y]))
    return index, distance
