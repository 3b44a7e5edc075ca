"""What has no solution is refused with its cause, and never solved by chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astrometry_builders import Sky, make_case

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.astrometry import (
    AstrometryConfig,
    Cause,
    DetectedSources,
    QualityCuts,
    ReferenceStars,
    SearchConfig,
    solve,
)


@pytest.fixture(scope="module")
def case():
    return make_case(7100, sky=Sky(n_stars=400))


def refused(case, cause, **changes):
    """Solve with changed input, and return the message of the refusal."""
    inputs = {"sources": case.sources, "stars": case.stars, "view": case.view} | changes
    with pytest.raises(UnusableInputError) as caught:
        solve(**inputs)
    assert caught.value.facts["cause"] == str(cause)
    assert caught.value.subject == case.view.subject
    assert caught.value.remedy
    return str(caught.value)


def no_sources():
    return DetectedSources(*np.empty((6, 0)), np.empty(0, np.int64))


def test_no_sources(case):
    message = refused(case, Cause.TOO_FEW_SOURCES, sources=no_sources())
    assert "seed7100.fits: 0 usable of 0 sources, astrometry needs 6" in message


def test_only_flagged_sources(case):
    flags = np.full(len(case.sources), -1)
    message = refused(case, Cause.TOO_FEW_SOURCES, sources=replace(case.sources, flags=flags))
    assert f"0 usable of {len(flags)} sources" in message


def test_an_empty_catalog(case):
    stars = ReferenceStars(*np.empty((5, 0)), epoch_yr=2016.0)
    assert "no catalogue star within" in refused(case, Cause.CATALOG_EMPTY, stars=stars)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_catalog_of_a_few_stars(case, n):
    columns = {name: getattr(case.stars, name)[:n] for name in ("ra", "dec", "pmra", "pmdec", "mag")}
    few = ReferenceStars(**columns, epoch_yr=case.stars.epoch_yr)
    with pytest.raises(UnusableInputError) as caught:
        solve(case.sources, few, case.view)
    assert caught.value.facts["cause"] in {"no_peak", "too_few_matches", "catalog_empty"}


def test_a_catalog_of_elsewhere(case):
    for shift in (20.0, 180.0):  # also behind the tangent plane
        stars = replace(case.stars, ra=(case.stars.ra + shift) % 360.0)
        message = refused(case, Cause.CATALOG_EMPTY, stars=stars)
        assert f"{len(stars)} were given" in message


@pytest.mark.parametrize("column", ["x", "y", "x_error", "y_error", "flux", "flux_error"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sources_that_are_not_finite_are_named(case, column, value):
    values = getattr(case.sources, column).copy()
    values[[3, 5]] = value
    message = refused(case, Cause.NOT_FINITE, sources=replace(case.sources, **{column: values}))
    assert f"2 of {len(values)} sources have no usable {column}, the first in row 3" in message


@pytest.mark.parametrize("column", ["x_error", "y_error", "flux_error"])
def test_errors_of_zero_are_refused(case, column):
    values = getattr(case.sources, column).copy()
    values[0] = 0.0
    message = refused(case, Cause.NOT_FINITE, sources=replace(case.sources, **{column: values}))
    assert f"no usable {column}" in message


@pytest.mark.parametrize(
    ("column", "value"),
    [("ra", np.nan), ("dec", np.nan), ("mag", np.nan), ("pmra", np.inf), ("pmdec", -np.inf)],
)
def test_catalog_rows_that_are_not_finite_are_named(case, column, value):
    values = getattr(case.stars, column).copy()
    values[7] = value
    message = refused(case, Cause.NOT_FINITE, stars=replace(case.stars, **{column: values}))
    assert f"1 of {len(values)} catalogue have no usable {column}, the first in row 7" in message


def test_columns_of_different_lengths_are_a_mistake_of_the_caller(case):
    with pytest.raises(ValueError, match="DetectedSources needs columns of one length"):
        replace(case.sources, x=np.zeros(3))
    with pytest.raises(ValueError, match="ReferenceStars needs columns of one length"):
        replace(case.stars, mag=np.zeros((len(case.stars), 1)))


@pytest.mark.parametrize("seed", range(7110, 7122))
def test_unrelated_positions_are_never_solved(seed):
    """Sources of one sky against the stars of another, sparse to crowded."""
    sizes = (20, 300, 4000, 20_000)
    one = make_case(seed, sky=Sky(n_stars=sizes[seed % 4]))
    other = make_case(seed + 500, sky=Sky(n_stars=sizes[seed // 4 % 4]))
    message = refused(one, Cause.NO_PEAK, stars=other.stars)
    for words in ("prior: no peak: at best", "turned: no peak: at best", "pattern: ", "triangles of"):
        assert words in message


def test_a_mirrored_image_is_not_solved(case):
    mirrored = replace(case.sources, x=case.view.nominal.nx + 1 - case.sources.x)
    refused(case, Cause.NO_PEAK, sources=mirrored)


def test_a_handful_of_sources(case):
    few = make_case(7130, sky=Sky(n_stars=7, faintest=15.0), false_fraction=0.6, catalog_fraction=0.5)
    with pytest.raises(UnusableInputError) as caught:
        solve(few.sources, few.stars, few.view)
    assert caught.value.facts["cause"] in {str(c) for c in Cause}


def test_residuals_too_large(case):
    random = np.random.default_rng(7140)
    n = len(case.sources)
    shaken = replace(
        case.sources,
        x=case.sources.x + random.normal(size=n) * 0.7,
        y=case.sources.y + random.normal(size=n) * 0.7,
    )
    config = AstrometryConfig(cuts=QualityCuts(rms_fail_arcsec=0.3))
    message = refused(case, Cause.RESIDUALS_TOO_LARGE, sources=shaken, config=config)
    assert "over 0.3" in message


def test_too_few_matches(case):
    """A search that believes anything finds a shift, and the refinement does not confirm it."""
    other = make_case(7151, sky=Sky(n_stars=400))
    config = AstrometryConfig(search=SearchConfig(max_chance=1.0, pattern_min_votes=1000))
    with pytest.raises(UnusableInputError) as caught:
        solve(case.sources, other.stars, case.view, config)
    assert "stars matched" in str(caught.value)
    assert "expected by chance" in str(caught.value)
