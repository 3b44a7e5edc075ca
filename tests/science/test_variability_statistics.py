"""Statistics against slow, obvious numpy, and against ZTF's own."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.variability.curves import LightCurves
from zsds_tasks.science.variability.statistics import measure_statistics

PERCENTS = [5, 10, 17.5, 25, 32.5, 40, 60, 67.5, 75, 82.5, 90, 95]


def ragged(seed: int, counts: list[int]) -> LightCurves:
    random = np.random.default_rng(seed)
    n = sum(counts)
    mjd = random.permutation(58000 + 0.01 * np.arange(n) * random.uniform(0.5, 200))
    mag = 17 + 0.1 * random.normal(size=n) + 0.3 * (random.random(n) < 0.1)
    flags = np.where(random.random(n) < 0.2, 32768, 0)
    return LightCurves(
        mjd, mag, random.uniform(0.02, 0.1, n), flags, np.concatenate([[0], np.cumsum(counts)])
    )


def longest_run(is_in: np.ndarray) -> int:
    return max(map(len, "".join("x" if one else " " for one in is_in).split()), default=0)


def slow(t: np.ndarray, m: np.ndarray, e: np.ndarray) -> dict:
    order = np.argsort(t)
    t, m, e = t[order], m[order], e[order]
    n, w = len(m), 1 / e**2
    mean, wmean, rms, median = m.mean(), (w * m).sum() / w.sum(), m.std(ddof=1), np.median(m)
    z, step, gap = (m - mean) / rms, np.diff(m), np.diff(t)
    delta = np.sqrt(n / (n - 1)) * (m - mean) / e
    top, bottom, i = 0.0, 0.0, 0
    while i < n:
        paired = i + 1 < n and t[i + 1] - t[i] <= 20 / 1440
        p, weight = (delta[i] * delta[i + 1], 1.0) if paired else (delta[i] ** 2 - 1, 0.5)
        top, bottom, i = top + weight * np.sign(p) * abs(p) ** 0.5, bottom + weight, i + 1 + paired
    sides = "".join("+" if x > 2 else "-" if x < -2 else " " for x in z)
    words = [word for side in "+-" for word in "".join(c if c == side else " " for c in sides).split()]
    return {
        "ngoodobs": n, "meanmag": mean, "medianmag": median, "weightedmeanmag": wmean, "minmag": m.min(),
        "maxmag": m.max(), "medmagerr": np.median(e), "amplitude": np.ptp(m) / 2, "magrms": rms,
        "weightedmagrms": np.sqrt((w * (m - wmean) ** 2).sum() / w.sum() * n / (n - 1)),
        "medianabsdev": np.median(abs(m - median)), "chisq": (w * (m - wmean) ** 2).sum() / (n - 1),
        "con": sum(len(word) >= 3 for word in words) / (n - 2),
        "vonneumannratio": (step**2).sum() / ((m - mean) ** 2).sum(), "stetsonj": top / bottom,
        "stetsonk": abs(delta).mean() / np.sqrt((delta**2).mean()),
        "skewness": n / ((n - 1) * (n - 2)) * (z**3).sum(),
        "smallkurtosis": n * (n + 1) / ((n - 1) * (n - 2) * (n - 3)) * (z**4).sum()
        - 3 * (n - 1) ** 2 / ((n - 2) * (n - 3)),
        "lineartrend": np.polyfit(t - t.mean(), m, 1)[0], "maxslope": abs(step / gap).max(),
        "npairposslope": (step[-30:] > 0).sum(),
        "nmedianbufferrange": (abs(m - median) <= 0.1 * np.ptp(m)).sum(),
        "percentiles": np.percentile(m, PERCENTS), "firstmjd": t[0], "lastmjd": t[-1],
        "nabovemeanbystd": [(z > k).sum() for k in (1, 3, 5)],
        "nbelowmeanbystd": [(z < -k).sum() for k in (1, 3, 5)],
        "nconsecabovemeanbystd": [longest_run(z > k) for k in (1, 3, 5)],
        "nconsecbelowmeanbystd": [longest_run(z < -k) for k in (1, 3, 5)],
        "nconsecfrommeanbystd": [longest_run(abs(z) > k) for k in (1, 3, 5)],
    }  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_every_statistic_is_that_of_its_definition(seed):
    curves = ragged(seed, [5, 300, 12, 41, 90, 30, 29])
    found = measure_statistics(curves).columns()
    for k in range(len(curves)):
        rows = np.arange(curves.offsets[k], curves.offsets[k + 1])
        good = rows[curves.flags[rows] == 0]
        if len(good) < 4:
            continue
        expected = slow(curves.mjd[good], curves.mag[good], curves.magerr[good])
        assert set(found) - set(expected) == {"nobs"}
        assert found["nobs"][k] == len(rows)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][k], value, rtol=1e-8, atol=1e-11, err_msg=name)


def test_few_epochs_give_nan_without_a_warning():
    curves = ragged(3, [0, 1, 2, 3, 4])
    curves = LightCurves(curves.mjd, curves.mag, curves.magerr, 0 * curves.flags, curves.offsets)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure_statistics(curves)
    least = {"meanmag": 1, "magrms": 2, "vonneumannratio": 2, "skewness": 3, "con": 3, "smallkurtosis": 4}
    for name, count in least.items():
        assert np.isfinite(getattr(found, name)).tolist() == [n >= count for n in range(5)], name
    assert found.ngoodobs.tolist() == [0, 1, 2, 3, 4]


def test_what_is_not_finite_or_has_no_error_is_no_epoch():
    nan = np.nan
    curves = LightCurves(
        np.arange(5.0),
        np.array([1, nan, 2, 3, 4]),
        np.array([1, 1, 0, nan, 1]),
        np.zeros(5),
        np.array([0, 5]),
    )
    found = measure_statistics(curves)
    assert found.ngoodobs[0] == 2
    assert found.meanmag[0] == pytest.approx(2.5)


def test_equal_magnitudes_have_no_shape():
    found = measure_statistics(
        LightCurves(np.arange(9.0), np.full(9, 17.3), np.full(9, 0.1), np.zeros(9), np.array([0, 9]))
    )
    assert found.magrms[0] == pytest.approx(0, abs=1e-12)
    assert np.isnan(found.vonneumannratio[0])
    assert np.isnan(found.stetsonk[0])
    assert found.nabovemeanbystd.sum() == 0


def test_an_object_depends_on_its_own_epochs_alone_in_any_order():
    curves = ragged(5, [20, 33, 8])
    whole = measure_statistics(curves).columns()
    random = np.random.default_rng(1)
    for k in range(3):
        rows = random.permutation(np.arange(curves.offsets[k], curves.offsets[k + 1]))
        alone = LightCurves(
            curves.mjd[rows],
            curves.mag[rows],
            curves.magerr[rows],
            curves.flags[rows],
            np.array([0, len(rows)]),
        )
        for name, values in measure_statistics(alone).columns().items():
            assert np.array_equal(values[0], whole[name][k], equal_nan=True), name


def test_gaussian_noise_has_the_values_of_theory():
    random = np.random.default_rng(6)
    n, stars = 200, 300
    t = np.tile(np.arange(n, dtype=float), stars)
    curves = LightCurves(
        t, 17 + 0.1 * random.normal(size=n * stars), np.full(n * stars, 0.1), np.zeros(n * stars),
        n * np.arange(stars + 1),
    )  # fmt: skip
    found = measure_statistics(curves)
    assert np.mean(found.stetsonk) == pytest.approx(np.sqrt(2 / np.pi), abs=0.005)
    assert np.mean(found.vonneumannratio) == pytest.approx(2.0, abs=0.03)
    assert np.mean(found.chisq) == pytest.approx(1.0, abs=0.02)
    assert np.mean(found.skewness) == pytest.approx(0.0, abs=0.04)
    assert np.mean(found.smallkurtosis) == pytest.approx(0.0, abs=0.06)


def test_columns_that_do_not_fit_are_refused():
    with pytest.raises(UnusableInputError, match="differ in length"):
        LightCurves(np.zeros(2), np.zeros(3), np.zeros(3), np.zeros(3), np.array([0, 3]))
    for offsets in ([0, 2], [1, 3], [0, 3, 2, 3], []):
        with pytest.raises(UnusableInputError, match="offsets"):
            LightCurves(np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3), np.array(offsets))


# The tables of this HDF5 file are not compressed: their rows lie in chunks, at these bytes.
EPOCHS, SOURCES = (105617, 114497, 123377, 132257), 141137
EPOCH = np.dtype(
    {"names": ["catflags", "mag", "magerr", "matchid", "mjd"], "formats": ["<u2", "<f4", "<f4", "<u4", "<f8"],
     "offsets": [0, 26, 30, 38, 42], "itemsize": 80}
)  # fmt: skip
SOURCE = np.dtype(
    {"names": ["magrms", "matchid", "maxmag", "meanmag", "medianmag", "minmag", "ngoodobsrel", "medmagerr"],
     "formats": ["<f4", "<i4", "<f4", "<f4", "<f4", "<f4", "<u2", "<f4"],
     "offsets": [28, 32, 36, 44, 52, 60, 96, 56], "itemsize": 238}
)  # fmt: skip


def test_ztf_match_file_statistics(real_data):
    raw = (real_data / "lightcurves" / "ztf_000245_zr_c10_q1_match.pytable").read_bytes()
    epochs = np.concatenate([np.frombuffer(raw, EPOCH, 111, start) for start in EPOCHS])[:336]
    sources = np.frombuffer(raw, SOURCE, 10, SOURCES)
    epochs = epochs[np.argsort(epochs["matchid"], kind="stable")]
    counts = [(epochs["matchid"] == number).sum() for number in sources["matchid"]]
    found = measure_statistics(
        LightCurves(
            epochs["mjd"],
            epochs["mag"],
            epochs["magerr"],
            epochs["catflags"],
            np.concatenate([[0], np.cumsum(counts)]),
        )
    )
    # The epochs are an excerpt of those that made the official numbers, whole for one source.
    whole = int(np.flatnonzero(sources["matchid"] == 4)[0])
    for name in ("magrms", "maxmag", "meanmag", "medianmag", "minmag"):
        assert getattr(found, name)[whole] == pytest.approx(sources[name][whole], abs=2e-6), name
    for k in np.flatnonzero(found.ngoodobs >= 35):
        error = found.magrms[k] / np.sqrt(found.ngoodobs[k])
        assert abs(found.meanmag[k] - sources["meanmag"][k]) < error
        assert abs(found.medianmag[k] - sources["medianmag"][k]) < error
        assert found.magrms[k] == pytest.approx(sources["magrms"][k], rel=0.12)
        assert found.medmagerr[k] == pytest.approx(sources["medmagerr"][k], rel=0.01)
        assert sources["minmag"][k] <= found.minmag[k] + 1e-6
        assert sources["maxmag"][k] >= found.maxmag[k] - 1e-6


def test_arrays_that_must_not_be_written_are_measured_as_others_are():
    curves = ragged(8, [9, 12])
    names = ("mjd", "mag", "magerr", "flags", "offsets")
    frozen = [getattr(curves, name).copy() for name in names]
    for values in frozen:
        values.setflags(write=False)  # as views of Arrow's memory are
    found, wanted = measure_statistics(LightCurves(*frozen)), measure_statistics(curves)
    assert np.array_equal(found.magrms, wanted.magrms)
