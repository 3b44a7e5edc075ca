"""Multi-harmonic periodogram on a regular grid of frequencies.

The gain of a Fourier series with a free constant over a constant alone, in chi square (Lomb-Scargle with a
floating mean is the case of one harmonic). What the fits of all frequencies need are sums of weights and
weighted values times exp(2 pi i h f t); they are non-uniform Fourier transforms, taken by spreading the
epochs over a grid with a short kernel and one FFT per harmonic (Palmer 2009, ApJ 695, 496; kernel of Barnett,
Magland and af Klinteberg 2019, SIAM J. Sci. Comput. 41, C479).
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]
WIDTH = 7  # cells of the spreading kernel: relative error about 1e-5
SHAPE = 2.30 * WIDTH
RIDGE = 1e-9


@compiled("void(f8[::1], f8[::1], f8, f8, c16[::1])", cache=True, nogil=True)
def _spread(t: Floats, values: Floats, df: float, middle: float, grid: Complex) -> None:
    """Add values times exp(2 pi i middle t) to a periodic grid at place t df, smeared by the kernel."""
    n = len(grid)
    for i in range(len(t)):
        turn = 2.0 * math.pi * ((middle * t[i]) % 1.0)
        value = values[i] * complex(math.cos(turn), math.sin(turn))
        place = ((t[i] * df) % 1.0) * n
        first = math.ceil(place - 0.5 * WIDTH)
        for j in range(WIDTH):
            z = (first + j - place) / (0.5 * WIDTH)
            if abs(z) < 1.0:
                grid[(first + j) % n] += value * math.exp(SHAPE * (math.sqrt(1.0 - z * z) - 1.0))


def _kernel_transform(modes: Floats, size: int) -> Floats:
    """Fourier transform of the kernel at integer modes of a grid, by Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    values = weights * np.exp(SHAPE * (np.sqrt(1.0 - nodes**2) - 1.0)) * 0.5 * WIDTH
    # Smooth in the mode: a polynomial through some exact values.
    coarse = np.linspace(modes[0], modes[-1], 129)
    exact = np.cos(np.pi * WIDTH / size * np.multiply.outer(coarse, nodes)) @ values
    return np.asarray(np.polynomial.chebyshev.Chebyshev.fit(coarse, 1.0 / exact, 24)(modes))


class Transformer:
    """Sums of values times exp(2 pi i h f t) at frequencies (1, 2, ... n) df.

    Parameters
    ----------
    t : (N) float64
        Days, from about their middle.
    df : float
        Step of frequency, per day.
    n : int
        Number of frequencies.
    """

    def __init__(self, t: Floats, df: float, n: int) -> None:
        self.t, self.df, self.n = t, df, n
        self.size = int(scipy.fft.next_fast_len(2 * n + 2 * WIDTH))
        self.modes = np.arange(n, dtype=np.float64) - n // 2
        self.repair = _kernel_transform(self.modes, self.size)

    def sums(self, values: Floats, harmonic: int) -> Complex:
        """Return the (n) complex sums of one harmonic."""
        grid = np.zeros(self.size, np.complex128)
        middle = self.df * (1 + self.n // 2)
        _spread(harmonic * self.t, values, self.df, middle, grid)
        spectrum = scipy.fft.ifft(grid, norm="forward", overwrite_x=True)
        low = self.n // 2
        ordered = np.concatenate([spectrum[len(spectrum) - low :], spectrum[: self.n - low]])
        return np.asarray(ordered * self.repair, np.complex128)


@compiled("void(c16[:, ::1], c16[:, ::1], f8, f8[::1])", cache=True, nogil=True)
def _gains(w: Complex, y: Complex, total: float, out: Floats) -> None:
    """Gain in chi square of each frequency, from sums of weights (2K, n) and of weighted values (K, n)."""
    order = len(y)
    p = 2 * order + 1
    a, b = np.empty((p, p)), np.empty(p)
    for f in range(len(out)):
        a[0, 0], b[0] = total, 0.0
        for i in range(order):
            a[2 * i + 1, 0], a[2 * i + 2, 0] = w[i, f].real, w[i, f].imag
            b[2 * i + 1], b[2 * i + 2] = y[i, f].real, y[i, f].imag
            for j in range(i + 1):
                add = w[i + j + 1, f]
                less = w[i - j - 1, f] if i > j else complex(total, 0.0)
                a[2 * i + 1, 2 * j + 1] = 0.5 * (less.real + add.real)
                a[2 * i + 2, 2 * j + 2] = 0.5 * (less.real - add.real)
                a[2 * i + 2, 2 * j + 1] = 0.5 * (add.imag + less.imag)
                a[2 * i + 1, 2 * j + 2] = 0.5 * (add.imag - less.imag)
        gain = 0.0
        for i in range(p):
            for j in range(i):
                s = a[i, j]
                for k in range(j):
                    s -= a[i, k] * a[j, k]
                a[i, j] = s / a[j, j]
            d, s = a[i, i], b[i]
            for k in range(i):
                d -= a[i, k] * a[i, k]
                s -= a[i, k] * b[k]
            # A harmonic that the epochs do not tell from the others adds nothing.
            if d > RIDGE * total:
                a[i, i] = math.sqrt(d)
                b[i] = s / a[i, i]
            else:
                a[i, i], b[i] = 1e150, 0.0
            gain += b[i] * b[i]
        out[f] = gain


def harmonic_gains(t: Floats, y: Floats, w: Floats, df: float, n: int, order: int) -> Floats:
    """Return the gain in chi square of a Fourier series at frequencies (1, 2, ... n) df.

    Parameters
    ----------
    t, y, w : (N) float64
        Days, values, and weights 1/sigma^2.
    df : float
        Step of frequency, per day.
    n, order : int
        Number of frequencies, and of harmonics.

    Returns
    -------
    (n) float64
        Chi square of a constant less that of the series.
    """
    y = y - np.average(y, weights=w)
    transformer = Transformer(t - 0.5 * (t.min() + t.max()), df, n)
    weights = np.stack([transformer.sums(w, h) for h in range(1, 2 * order + 1)])
    values = np.stack([transformer.sums(w * y, h) for h in range(1, order + 1)])
    out = np.empty(n)
    _gains(weights, values, float(w.sum()), out)
    return out
