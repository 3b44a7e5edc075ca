"""Statistics and periods of light curves against astropy, nifty-ls and light-curve.

python tests/benchmarks/bench_variability.py statistics | periods [count] [seeds...] | peers [count] |
    real [each of so many] [from]

Peers are measured where they are installed; the project does not need them. `real` reads ZSDS_DATA.
"""
# ruff: noqa: T201 - a benchmark prints its table

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from variable_curves import Sample, stripe_82, variables  # noqa: E402 - the path comes first

from zsds_tasks.science.variability.bands import join_bands  # noqa: E402
from zsds_tasks.science.variability.curves import LightCurves  # noqa: E402
from zsds_tasks.science.variability.period_choice import best_series  # noqa: E402
from zsds_tasks.science.variability.period_config import PeriodConfig  # noqa: E402
from zsds_tasks.science.variability.period_fits import constant_chi2  # noqa: E402
from zsds_tasks.science.variability.periods import Periods, find_periods, starts  # noqa: E402
from zsds_tasks.science.variability.spectrum import harmonic_gains  # noqa: E402
from zsds_tasks.science.variability.statistics import measure_statistics  # noqa: E402


def main() -> None:
    """Run what is asked for."""
    what, *numbers = sys.argv[1:] or ["statistics"]
    if what == "statistics":
        statistics()
    elif what == "periods":
        for seed in [int(text) for text in numbers[1:]] or [11, 12, 13]:
            sample = variables(seed, int(numbers[0]) if numbers else 60)
            recovery(f"seed {seed}", sample, PeriodConfig())
    elif what == "peers":
        peers(variables(21, int(numbers[0]) if numbers else 40))
    elif folder := os.environ.get("ZSDS_DATA"):
        real(stripe_82(Path(folder), *[int(text) for text in numbers[:2]] or [10]))


def statistics() -> None:
    """Print epochs per second of all statistics, and of a peer's on the same curves."""
    random = np.random.default_rng(1)
    counts = random.integers(2, 180, 20000)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    n = int(offsets[-1])
    mjd = np.concatenate([np.sort(58000 + 800 * random.random(count)) for count in counts])
    curves = LightCurves(
        mjd, 18 + 0.1 * random.normal(size=n), np.full(n, 0.1), np.zeros(n, np.uint16), offsets
    )
    print(f"statistics: {n / seconds(lambda: measure_statistics(curves), 3) / 1e6:.1f} M epochs/s")
    if importlib.util.find_spec("light_curve") is None:
        return
    import light_curve as lc

    ours = lc.Extractor(
        lc.Amplitude(), lc.Kurtosis(), lc.LinearTrend(), lc.MaximumSlope(), lc.Mean(), lc.Median(),
        lc.MedianAbsoluteDeviation(), lc.MedianBufferRangePercentage(0.1), lc.ReducedChi2(), lc.Skew(),
        lc.StandardDeviation(), lc.StetsonK(), lc.WeightedMean(), lc.Eta(), lc.InterPercentileRange(0.05),
    )  # fmt: skip

    def peer() -> None:
        for a, b in itertools.pairwise(offsets):
            if b - a >= 4:
                ours(curves.mjd[a:b], curves.mag[a:b], curves.magerr[a:b], sorted=True, check=False)

    print(f"light-curve, 15 features: {n / seconds(peer, 1) / 1e6:.1f} M epochs/s")


def recovery(name: str, sample: Sample, config: PeriodConfig) -> Periods:
    """Print which share of periods is found, and the time for one light curve."""
    found: list[Periods] = []
    spent = seconds(lambda: found.append(find_periods(sample.curves, sample.bands, config)), 1)
    ratio = found[0].period / sample.period
    listed = told(found[0], sample.period)
    for kind in np.unique(sample.kind):
        r = ratio[sample.kind == kind]
        shares = [np.mean(np.abs(r / of - 1) < 1e-3) for of in (1.0, 0.5, 2.0)]
        right = np.abs(r - 1)[np.abs(r - 1) < 1e-3]
        print(
            f"| {name} | {kind} | {len(r)} | {100 * shares[0]:.1f} % | {100 * shares[1]:.1f} % | "
            f"{100 * shares[2]:.1f} % | {100 * listed[sample.kind == kind].mean():.1f} % | "
            f"{np.median(right):.1e} | {spent / len(sample.period):.2f} s |"
        )
    return found[0]


def told(found: Periods, period: np.ndarray) -> np.ndarray:
    """Tell which periods are those found or among the others that are told."""
    periods = np.column_stack([found.period, found.alias_periods])
    return np.asarray((np.abs(periods / period[:, None] - 1) < 1e-3).any(axis=1))


def real(sample: Sample) -> None:
    """Print what is found of published periods, and what the epochs say of those that differ.

    Bands follow one another within minutes, so epochs are counted as moments. Under the noise that our fit
    leaves, a published period whose best fit scores 10 less is exp(5) times less likely.
    """
    config = PeriodConfig()
    found = recovery("Stripe 82", sample, config)
    right = np.abs(found.period / sample.period - 1) < 1e-3
    listed = told(found, sample.period)
    moments, margin = np.empty(len(right)), np.full(len(right), np.nan)
    for k in range(len(right)):
        series = series_of(sample, k, config)
        moments[k] = series.n_moments
        ours = best_series(1.0 / found.period[k], series, config, constant_chi2(series))
        if right[k] or ours is None:
            continue
        series = series.with_jitter(ours.model)
        both = [
            best_series(1.0 / period, series, config, constant_chi2(series))
            for period in (found.period[k], sample.period[k])
        ]
        margin[k] = both[0].score - (both[1].score if both[1] else 0.0)
        print(f"  {sample.kind[k]} {found.period[k]:.6f} for {sample.period[k]:.6f}: {margin[k]:+.1f}")
    for kind in (*np.unique(sample.kind), ""):
        of = (sample.kind == kind) | (kind == "")
        for name, rows in (("all", of), ("60 moments and more", of & (moments >= 60))):
            beaten = int((margin[rows] > 10.0).sum())
            print(
                f"| {kind or 'together'}, {name} | {rows.sum()} | {100 * right[rows].mean():.1f} % | "
                f"{100 * listed[rows].mean():.1f} % | {int((~right[rows]).sum())} | {beaten} |"
            )


def series_of(sample: Sample, k: int, config: PeriodConfig):
    """Return the joined bands of a star."""
    rows = slice(sample.curves.offsets[k], sample.curves.offsets[k + 1])
    curves = sample.curves
    return join_bands(
        curves.mjd[rows], curves.mag[rows], curves.magerr[rows], sample.bands[rows],
        config.least_per_band, config.error_floor,
    )  # fmt: skip


def peers(sample: Sample) -> None:
    """Print the share whose best frequency is the period, its half or double, and seconds per light curve.

    The multi-harmonic peers get the same joined series, the same frequencies and three harmonics.
    """
    config = PeriodConfig()
    methods: dict[str, Callable[..., float]] = {"ours, Fourier scan": _ours, "ours, Fourier and dips": _both}
    if importlib.util.find_spec("nifty_ls") is not None:
        methods["nifty-ls, 3 harmonics"] = _nifty
    methods["astropy, 3 harmonics"] = _astropy
    if importlib.util.find_spec("light_curve") is not None:
        methods["light-curve, Lomb-Scargle"] = _light_curve
    curves = sample.curves
    for name, method in methods.items():
        spent, right = 0.0, np.zeros(len(sample.period), bool)
        for k in range(len(curves)):
            series = series_of(sample, k, config)
            if k == 0:
                method(series, config)
            start = time.process_time()
            ratio = sample.period[k] * method(series, config)
            spent += time.process_time() - start
            right[k] = min(abs(ratio * r - 1) for r in (0.5, 1.0, 2.0)) < 1e-3
        shares = " | ".join(
            f"{100 * right[sample.kind == kind].mean():.0f} %" for kind in np.unique(sample.kind)
        )
        print(f"| {name} | {shares} | {spent / len(curves):.3f} s |")


def _grid(series, config):
    step = 1.0 / (config.scan_oversampling * series.span)
    return step, int(1.0 / config.shortest_days / step)


def _ours(series, config):
    step, n = _grid(series, config)
    return (1 + harmonic_gains(series.t, series.y, series.w, step, n, 3).argmax()) * step


def _both(series, config):
    return find_one(series, starts(series, config))


def find_one(series, peaks):
    """Return the best frequency of fits at the peaks."""
    from zsds_tasks.science.variability.period_fits import fit_at

    chi2 = constant_chi2(series)
    fits = [fit for f, order in peaks if (fit := fit_at(series, f, order, chi2))]
    return max(fits, key=lambda fit: fit.score).frequency


def _nifty(series, config):
    import nifty_ls

    step, n = _grid(series, config)
    power = nifty_ls.lombscargle(
        series.t, series.y, 1 / np.sqrt(series.w), fmin=step, fmax=n * step, Nf=n, nterms=3, nthreads=1
    ).power
    return (1 + int(np.argmax(power))) * step


def _astropy(series, config):
    from astropy.timeseries import LombScargle

    step, n = _grid(series, config)
    search = LombScargle(series.t, series.y, 1 / np.sqrt(series.w), nterms=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        power = search.power(step * np.arange(1, n + 1), method="fastchi2", assume_regular_frequency=True)
    return (1 + int(np.argmax(power))) * step


def _light_curve(series, config):
    import light_curve as lc

    # Its own grid: up to ten times the mean Nyquist frequency is what takes it to the same periods.
    nyquist = 0.5 * len(series.t) / series.span
    search = lc.Periodogram(
        peaks=1,
        resolution=8.0,
        max_freq_factor=1.0 / config.shortest_days / nyquist,
        nyquist="average",
        fast=True,
    )
    order = np.argsort(series.t)
    period = search(series.t[order], series.y[order], 1 / np.sqrt(series.w[order]))[0]
    return 1.0 / period


def seconds(what: Callable[[], object], times: int) -> float:
    """Return the median processor time of some calls."""
    spent = []
    for _ in range(times):
        start = time.process_time()
        what()
        spent.append(time.process_time() - start)
    return float(np.median(spent))


if __name__ == "__main__":
    main()
