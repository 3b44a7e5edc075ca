"""The network over triplets: a small convolutional one after braai (Duev et al. 2019), in JAX.

It has 49,000 parameters, braai 312,081, and two branches: one looks at the middle pixel by pixel, the other
at the whole stamp at a third of the resolution (how light lies about: halos, trails, neighbours). Each stamp
is first brought to the scale of its noise and goes through a logarithm of both signs, so that a bright star
in a corner does not push the candidate out of sight.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from zsds_tasks.science.realbogus.triplets import N_CHANNELS, SIZE, normalise_triplets
from zsds_tasks.training.augment import augmented
from zsds_tasks.training.configuration import NetworkConfig

Floats = NDArray[np.float32]
Parameters = dict[str, Any]
LEAST_SCALE = 1e-5
"""Of a stamp, whose norm is 1; noise alone has pixels of 1 / 63."""
KERNEL, POOL, COARSE = 3, 2, 3
MIDDLE = (18, 45)
"""First pixel of what the near branch looks at, and the one after the last."""
POOLED = {"near": (False, True, True, False), "wide": (True, True)}
"""Whether a convolution is followed by a maximum over 2 x 2."""
MOMENTS = (0.9, 0.999)
WARM_STEPS = 100


def initial(config: NetworkConfig) -> Parameters:
    """Return weights drawn after He et al. (2015); kernels are (k, k, in, out)."""
    random = np.random.default_rng(config.seed)
    weights: Parameters = {}
    flat = 0
    for branch, inputs, first_side, filters in (
        ("near", N_CHANNELS, MIDDLE[1] - MIDDLE[0], config.near_filters),
        ("wide", 2 * N_CHANNELS, SIZE // COARSE, config.wide_filters),
    ):
        side = first_side
        widths = itertools.pairwise((inputs, *filters))
        for k, ((before, after), pooled) in enumerate(zip(widths, POOLED[branch], strict=True)):
            scale = np.sqrt(2.0 / (KERNEL * KERNEL * before))
            kernel = random.normal(0, scale, (KERNEL, KERNEL, before, after))
            weights[f"w_{branch}{k}"] = kernel.astype(np.float32)
            weights[f"b_{branch}{k}"] = np.zeros(after, np.float32)
            side = (side - KERNEL + 1) // (POOL if pooled else 1)
        flat += side * side * filters[-1]
    for name, shape in (("hidden", (flat, config.hidden)), ("out", (config.hidden, 1))):
        weights[f"w_{name}"] = random.normal(0, np.sqrt(2.0 / shape[0]), shape).astype(np.float32)
        weights[f"b_{name}"] = np.zeros(shape[1], np.float32)
    return weights


def logits(weights: Parameters, triplets: Any, keep: Any = None) -> Any:
    """Return the logit of being real (n) of triplets (n, 63, 63, 3); `keep` (n, hidden) is the dropout."""
    x = _in_noise(triplets)
    parts = _tiles(x, COARSE)
    wide = jnp.concatenate([sum(parts) / len(parts), _highest(parts)], axis=-1)
    near = x[:, MIDDLE[0] : MIDDLE[1], MIDDLE[0] : MIDDLE[1]]
    ends = [_branch(weights, "near", near), _branch(weights, "wide", wide)]
    x = jax.nn.relu(jnp.concatenate(ends, axis=1) @ weights["w_hidden"] + weights["b_hidden"])
    x = x if keep is None else x * keep
    return (x @ weights["w_out"] + weights["b_out"])[:, 0]


def _branch(weights: Parameters, name: str, image: Any) -> Any:
    for k, pooled in enumerate(POOLED[name]):
        image = lax.conv_general_dilated(
            image, weights[f"w_{name}{k}"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        image = jax.nn.relu(image + weights[f"b_{name}{k}"])
        image = _highest(_tiles(image, POOL)) if pooled else image
    return image.reshape(len(image), -1)


def _in_noise(triplets: Any) -> Any:
    """Return stamps in units of the geometric mean of their pixels, logarithms of both signs.

    That mean hardly minds a bright star, unlike the norm; ONNX has no median. Pixels of 0 are unknown.
    """
    size = jnp.abs(triplets)
    there = jnp.sign(size)
    count = jnp.maximum(there.sum(axis=(1, 2), keepdims=True), 1.0)
    mean = jnp.log(size + (1.0 - there)).sum(axis=(1, 2), keepdims=True) / count
    return jnp.sign(triplets) * jnp.log(1.0 + size / jnp.maximum(jnp.exp(mean), LEAST_SCALE))


def _tiles(x: Any, side: int) -> list[Any]:
    """Return the pixels of tiles one by one; a gradient through these is cheap, through windows it is not."""
    ny, nx = (n // side * side for n in x.shape[1:3])
    return [x[:, j:ny:side, i:nx:side] for j in range(side) for i in range(side)]


def _highest(parts: list[Any]) -> Any:
    found = parts[0]
    for part in parts[1:]:
        found = jnp.maximum(found, part)
    return found


def predict(weights: Parameters, triplets: Floats, batch: int = 256) -> Floats:
    """Return probabilities (n) of triplets (n, 3, 63, 63) by JAX itself."""
    forward = jax.jit(logits)
    parts = [
        np.asarray(jax.nn.sigmoid(forward(weights, _last(triplets[k : k + batch]))))
        for k in range(0, len(triplets), batch)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def train_network(
    stamps: NDArray[np.floating],
    is_real: NDArray[np.bool_],
    share: NDArray[np.float64],
    validation: tuple[Floats, NDArray[np.bool_], NDArray[np.float64]],
    config: NetworkConfig,
    tell: Callable[[str], None] = print,
    seconds: float = np.inf,
) -> tuple[Parameters, list[dict[str, float]]]:
    """Train with Adam on rows drawn by `share`; keep what was best on the validation seeds.

    The model is a running mean of the weights (Polyak & Juditsky 1992): it wobbles less than they do.

    Parameters
    ----------
    stamps : numpy.ndarray (n, 3, 63, 63)
        Not normalised.
    is_real : numpy.ndarray (n), bool
    share : numpy.ndarray (n), float64
        How often each row is drawn, sum 1.
    validation : (triplets, is_real, weight)
        Normalised.
    config : NetworkConfig
    tell : callable
        Called with a sentence per epoch.
    seconds : float
        Of this process, after which no new epoch begins.

    Returns
    -------
    weights : dict
    course : list of dict
        Losses of each epoch.
    """
    random = np.random.default_rng(config.seed)
    weights = mean = initial(config)
    moments = (jax.tree.map(np.zeros_like, weights), jax.tree.map(np.zeros_like, weights))
    steps = config.epochs * (config.rows_per_epoch // config.batch)
    step, best, best_loss, stale = 0, mean, np.inf, 0
    course: list[dict[str, float]] = []
    began = time.process_time()
    for epoch in range(config.epochs):
        rows = random.choice(len(is_real), config.rows_per_epoch, p=share)
        losses = []
        for x, y in _batches(stamps, is_real, rows, config, random):
            keep = (random.random((len(y), config.hidden)) >= config.dropout) / (1.0 - config.dropout)
            step += 1
            # Plain floats all: a number of another kind has JAX compile once more.
            rate = config.learning_rate * min(step / WARM_STEPS, 0.5 * (1 + math.cos(math.pi * step / steps)))
            weights, moments, loss = _update(
                weights, moments, x, y, keep.astype(np.float32), rate, float(step), config.weight_decay
            )
            share_kept = min(config.averaging, step / (step + WARM_STEPS))  # the first weights are forgotten
            mean = _averaged(mean, weights, share_kept)
            losses.append(float(loss))
        found = _loss_of(predict(mean, validation[0]), validation[1], validation[2])
        course.append({"epoch": epoch, "train": float(np.mean(losses)), "validation": found})
        tell(f"epoch {epoch}: loss {np.mean(losses):.4f}, on validation seeds {found:.4f}")
        best, best_loss, stale = (mean, found, 0) if found < best_loss else (best, best_loss, stale + 1)
        if stale >= config.patience or time.process_time() - began > seconds:
            break
    return jax.tree.map(np.asarray, best), course


@jax.jit
def _averaged(mean: Parameters, weights: Parameters, kept: Any) -> Parameters:
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, mean, weights)


def _batches(
    stamps: NDArray[np.floating],
    is_real: NDArray[np.bool_],
    rows: NDArray[np.int64],
    config: NetworkConfig,
    random: np.random.Generator,
) -> Iterator[tuple[Floats, Floats]]:
    for k in range(0, len(rows) - config.batch + 1, config.batch):
        chosen = rows[k : k + config.batch]
        triplets = normalise_triplets(augmented(stamps[chosen], config, random))
        yield _last(triplets), is_real[chosen].astype(np.float32)


@jax.jit
def _update(
    weights: Parameters, moments: tuple[Any, Any], x: Any, y: Any, keep: Any, rate: Any, step: Any, decay: Any
) -> tuple[Parameters, tuple[Any, Any], Any]:
    """One step of Adam (Kingma & Ba 2015), weight decay decoupled."""

    def loss(w: Parameters) -> Any:
        z = logits(w, x, keep)
        return jnp.mean(jnp.logaddexp(0.0, z) - y * z)

    value, slope = jax.value_and_grad(loss)(weights)
    first = jax.tree.map(lambda m, g: MOMENTS[0] * m + (1 - MOMENTS[0]) * g, moments[0], slope)
    second = jax.tree.map(lambda m, g: MOMENTS[1] * m + (1 - MOMENTS[1]) * g * g, moments[1], slope)
    one, two = 1 - MOMENTS[0] ** step, 1 - MOMENTS[1] ** step
    moved = jax.tree.map(
        lambda w, m, v: w - rate * (m / one / (jnp.sqrt(v / two) + 1e-8) + decay * w), weights, first, second
    )
    return moved, (first, second), value


def _loss_of(found: Floats, is_real: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    p = np.clip(found.astype(np.float64), 1e-6, 1 - 1e-6)
    return float(np.average(np.where(is_real, -np.log(p), -np.log1p(-p)), weights=weight))


def _last(triplets: Floats) -> Floats:
    return np.ascontiguousarray(np.moveaxis(triplets, 1, -1))


def parameters(weights: Parameters) -> int:
    """Return how many numbers a network has."""
    return int(sum(np.size(value) for value in weights.values()))
