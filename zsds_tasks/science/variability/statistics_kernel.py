"""One pass over ragged light curves: compiled."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]
Counts = NDArray[np.int32]

FLOAT_COLUMNS = (
    "meanmag",
    "medianmag",
    "weightedmeanmag",
    "minmag",
    "maxmag",
    "medmagerr",
    "amplitude",
    "magrms",
    "weightedmagrms",
    "medianabsdev",
    "chisq",
    "con",
    "vonneumannratio",
    "stetsonj",
    "stetsonk",
    "skewness",
    "smallkurtosis",
    "lineartrend",
    "maxslope",
    "firstmjd",
    "lastmjd",
)
N_FLOATS = len(FLOAT_COLUMNS)
(MEAN, MEDIAN, WMEAN, MIN, MAX, MEDERR, AMPLITUDE, RMS, WRMS, MAD, CHISQ, CON, ETA, STETSON_J, STETSON_K) = (
    range(15)
)
SKEW, KURTOSIS, TREND, SLOPE, FIRST, LAST = range(15, N_FLOATS)
COUNT_COLUMNS = ("nobs", "ngoodobs", "npairposslope", "nmedianbufferrange")
PERCENTS = (5.0, 10.0, 17.5, 25.0, 32.5, 40.0, 60.0, 67.5, 75.0, 82.5, 90.0, 95.0)
SIGMAS = (1.0, 3.0, 5.0)
N_SIGMAS = len(SIGMAS)
SINGLE_WEIGHT = 0.5  # of a single epoch in J; a pair has 1 (Stetson 1996, PASP 108, 851)
EQUAL = 1e-12  # relative scatter of equal numbers by rounding


@compiled("f8(f8[::1], f8)", cache=True, nogil=True)
def _quantile(ordered: Floats, share: float) -> float:
    """Value at a share of the way through ascending values, linear between them."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@compiled("void(f8[::1], f8[::1], f8[::1], f8, f8[::1])", cache=True, nogil=True)
def _stetson(t: Floats, m: Floats, e: Floats, pair_days: float, out: Floats) -> None:
    """Write J and K: pairs are formed greedily in time, each epoch in one pair at most."""
    n = len(m)
    factor = math.sqrt(n / (n - 1.0))
    mean = out[MEAN]
    top = bottom = first = second = 0.0
    i = 0
    while i < n:
        a = factor * (m[i] - mean) / e[i]
        first += abs(a)
        second += a * a
        if i + 1 < n and t[i + 1] - t[i] <= pair_days:
            b = factor * (m[i + 1] - mean) / e[i + 1]
            first += abs(b)
            second += b * b
            p = a * b
            weight = 1.0
            i += 2
        else:
            p = a * a - 1.0
            weight = SINGLE_WEIGHT
            i += 1
        top += weight * math.copysign(math.sqrt(abs(p)), p)
        bottom += weight
    out[STETSON_J] = top / bottom
    out[STETSON_K] = first / n / math.sqrt(second / n)


@compiled("void(f8[::1], f8[::1], f8[::1], f8, f8[::1])", cache=True, nogil=True)
def _moments(t: Floats, m: Floats, e: Floats, pair_days: float, out: Floats) -> None:
    """Write means, scatters and the figures made of sums, of n epochs in order of time."""
    n = len(m)
    weights = total = weighted = time = 0.0
    for i in range(n):
        w = 1.0 / (e[i] * e[i])
        weights += w
        weighted += w * m[i]
        total += m[i]
        time += t[i] - t[0]
    mean, wmean, middle = total / n, weighted / weights, time / n
    out[MEAN], out[WMEAN] = mean, wmean
    if n < 2:
        return
    s2 = s3 = s4 = chi = steps = stt = stm = steepest = 0.0
    for i in range(n):
        d, dw, dt = m[i] - mean, (m[i] - wmean) / e[i], t[i] - t[0] - middle
        s2 += d * d
        s3 += d * d * d
        s4 += d * d * d * d
        chi += dw * dw
        stt += dt * dt
        stm += dt * d
        if i > 0:
            step, gap = abs(m[i] - m[i - 1]), t[i] - t[i - 1]
            steps += step * step
            if gap > 0.0:
                steepest = max(steepest, step / gap)
    variance = s2 / (n - 1)
    rms = math.sqrt(variance)
    out[RMS], out[CHISQ] = rms, chi / (n - 1)
    out[WRMS] = math.sqrt(chi / weights * n / (n - 1))
    if stt > 0.0:
        out[TREND], out[SLOPE] = stm / stt, steepest
    # Deviations from a mean of equal magnitudes are rounding, not scatter.
    if rms <= EQUAL * (1.0 + abs(mean)):
        return
    out[ETA] = steps / s2
    if n > 2:
        out[SKEW] = n / ((n - 1.0) * (n - 2.0)) * s3 / (variance * rms)
    if n > 3:
        lead = n * (n + 1.0) / ((n - 1.0) * (n - 2.0) * (n - 3.0))
        out[KURTOSIS] = lead * s4 / (variance * variance) - 3.0 * (n - 1.0) ** 2 / ((n - 2.0) * (n - 3.0))
    _stetson(t, m, e, pair_days, out)


@compiled("void(f8[::1], f8, i8, f8[::1], i4[:, ::1])", cache=True, nogil=True)
def _runs(m: Floats, con_sigma: float, con_run: int, out: Floats, runs: Counts) -> None:
    """Write counts and longest runs beyond 1, 3 and 5 standard deviations, and the Condition index."""
    mean, rms = out[MEAN], out[RMS]
    for k in range(N_SIGMAS):
        above = below = either = 0
        limit = SIGMAS[k] * rms
        for i in range(len(m)):
            d = m[i] - mean
            above = above + 1 if d > limit else 0
            below = below + 1 if d < -limit else 0
            either = either + 1 if abs(d) > limit else 0
            runs[0, k] += above > 0
            runs[1, k] += below > 0
            runs[2, k] = max(runs[2, k], above)
            runs[3, k] = max(runs[3, k], below)
            runs[4, k] = max(runs[4, k], either)
    found = length = side = 0
    for i in range(len(m)):
        d = m[i] - mean
        now = 1 if d > con_sigma * rms else (-1 if d < -con_sigma * rms else 0)
        length = length + 1 if now == side and now != 0 else abs(now)
        side = now
        found += length == con_run
    out[CON] = found / (len(m) - 2.0)


@compiled(
    "void(f8[::1], f8[::1], f8[::1], b1[::1], i8[::1], f8, i8, f8, f8, i8, "
    "f8[:, ::1], f8[:, ::1], i4[:, ::1], i4[:, :, ::1])",
    cache=True,
    nogil=True,
)
def measure(
    mjd: Floats,
    mag: Floats,
    magerr: Floats,
    good: Booleans,
    offsets: Integers,
    pair_days: float,
    trend_pairs: int,
    buffer_share: float,
    con_sigma: float,
    con_run: int,
    floats: Floats,
    percentiles: Floats,
    counts: Counts,
    runs: Counts,
) -> None:
    """Write all statistics of all objects, whose epochs are in order of time.

    `floats` and `percentiles` come filled with NaN.
    """
    longest = 0
    for k in range(len(offsets) - 1):
        longest = max(longest, offsets[k + 1] - offsets[k])
    times, mags, errors = np.empty(longest), np.empty(longest), np.empty(longest)
    one = np.zeros((5, N_SIGMAS), np.int32)
    for k in range(len(offsets) - 1):
        n = 0
        for row in range(offsets[k], offsets[k + 1]):
            if good[row]:
                times[n], mags[n], errors[n] = mjd[row], mag[row], magerr[row]
                n += 1
        counts[k, 0], counts[k, 1] = offsets[k + 1] - offsets[k], n
        if n == 0:
            continue
        t, m, e, out = times[:n], mags[:n], errors[:n], floats[k]
        out[FIRST], out[LAST] = t[0], t[n - 1]
        _moments(t, m, e, pair_days, out)
        one[:] = 0
        # Two points, or equal ones, have no side.
        if n > 2 and out[RMS] > EQUAL * (1.0 + abs(out[MEAN])):
            _runs(m, con_sigma, con_run, out, one)
        runs[:, k] = one
        for i in range(max(1, n - trend_pairs), n):
            counts[k, 2] += m[i] > m[i - 1]
        e.sort()
        out[MEDERR] = _quantile(e, 0.5)
        m.sort()
        out[MIN], out[MAX], out[AMPLITUDE] = m[0], m[n - 1], 0.5 * (m[n - 1] - m[0])
        out[MEDIAN] = _quantile(m, 0.5)
        for p in range(len(PERCENTS)):
            percentiles[k, p] = _quantile(m, PERCENTS[p] / 100.0)
        for i in range(n):
            t[i] = abs(m[i] - out[MEDIAN])
            counts[k, 3] += t[i] <= buffer_share * (m[n - 1] - m[0])
        t.sort()
        out[MAD] = _quantile(t, 0.5)
