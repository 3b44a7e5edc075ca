"""The network over triplets: a small convolutional one after braai (Duev et al. 2019), in JAX.

Smaller than braai's (54,000 parameters, not 312,081): a stride instead of layers at full resolution makes it
cheap enough to train and to run on one core. Each stamp is first brought to the scale of its noise and goes
through asinh, so that a bright star in a corner does not push the candidate out of sight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
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
LEAST_SCALE = 1e-4
"""Of a stamp, whose norm is 1; noise alone has pixels of 1 / 63."""
KERNELS, STRIDES = (5, 3, 3, 3), (2, 1, 1, 1)
POOLED = (False, True, True, False)
MOMENTS = (0.9, 0.999)


def initial(config: NetworkConfig) -> Parameters:
    """Return weights drawn after He et al. (2015); kernels are (k, k, in, out)."""
    random = np.random.default_rng(config.seed)
    weights: Parameters = {}
    channels, side = N_CHANNELS, SIZE
    for k, (size, stride, n) in enumerate(zip(KERNELS, STRIDES, config.filters, strict=True)):
        scale = np.sqrt(2.0 / (size * size * channels))
        weights[f"w{k}"] = random.normal(0, scale, (size, size, channels, n)).astype(np.float32)
        weights[f"b{k}"] = np.zeros(n, np.float32)
        side = (side - size) // stride + 1
        side = side // 2 if POOLED[k] else side
        channels = n
    flat = side * side * channels
    for name, shape in (("hidden", (flat, config.hidden)), ("out", (config.hidden, 1))):
        weights[f"w_{name}"] = random.normal(0, np.sqrt(2.0 / shape[0]), shape).astype(np.float32)
        weights[f"b_{name}"] = np.zeros(shape[1], np.float32)
    return weights


def logits(weights: Parameters, triplets: Any, keep: Any = None) -> Any:
    """Return the logit of being real (n) of triplets (n, 63, 63, 3); `keep` (n, hidden) is the dropout."""
    # The mean root hardly minds a few bright pixels, unlike the norm; ONNX has no median.
    root = jnp.sqrt(jnp.abs(triplets)).mean(axis=(1, 2), keepdims=True)
    x = jnp.arcsinh(triplets / jnp.maximum(root * root, LEAST_SCALE))
    for k, stride in enumerate(STRIDES):
        x = lax.conv_general_dilated(
            x, weights[f"w{k}"], (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + weights[f"b{k}"])
        if POOLED[k]:
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = jax.nn.relu(x.reshape(len(x), -1) @ weights["w_hidden"] + weights["b_hidden"])
    x = x if keep is None else x * keep
    return (x @ weights["w_out"] + weights["b_out"])[:, 0]


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
    """Train with Adam on rows drawn by `share`; keep the weights that were best on the validation seeds.

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
    weights = initial(config)
    moments = (jax.tree.map(np.zeros_like, weights), jax.tree.map(np.zeros_like, weights))
    steps = config.epochs * (config.rows_per_epoch // config.batch)
    step, best, best_loss, stale = 0, weights, np.inf, 0
    course: list[dict[str, float]] = []
    began = time.process_time()
    for epoch in range(config.epochs):
        rows = random.choice(len(is_real), config.rows_per_epoch, p=share)
        losses = []
        for x, y in _batches(stamps, is_real, rows, config, random):
            keep = (random.random((len(y), config.hidden)) >= config.dropout) / (1.0 - config.dropout)
            step += 1
            rate = config.learning_rate * 0.5 * (1 + np.cos(np.pi * min(step / steps, 1.0)))
            weights, moments, loss = _update(
                weights, moments, x, y, keep.astype(np.float32), rate, float(step), config.weight_decay
            )
            losses.append(float(loss))
        found = _loss_of(predict(weights, validation[0]), validation[1], validation[2])
        course.append({"epoch": epoch, "train": float(np.mean(losses)), "validation": found})
        tell(f"epoch {epoch}: loss {np.mean(losses):.4f}, on validation seeds {found:.4f}")
        best, best_loss, stale = (weights, found, 0) if found < best_loss else (best, best_loss, stale + 1)
        if stale >= config.patience or time.process_time() - began > seconds:
            break
    return jax.tree.map(np.asarray, best), course


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


def layers() -> Sequence[tuple[int, bool]]:
    """Return stride and pooling of each convolution, for the export."""
    return tuple(zip(STRIDES, POOLED, strict=True))
