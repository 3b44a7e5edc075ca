"""The verdict is the original's where it had one, and names every condition with its numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.products.infobits import InfoBit, combine, decode
from zsds_tasks.science.quality.science import ScienceMetrics
from zsds_tasks.science.quality.verdict import PhotometricCuts, VerdictConfig, judge, judge_exposure
from zsds_tasks.settings import REPOSITORY
from zsds_tasks.survey.camera import load_camera


def area(name):
    camera = load_camera(name, REPOSITORY / "include")
    shape = camera.quadrant
    return shape.nx * shape.ny * (camera.mosaic.pixel_scale_arcsec / 3600) ** 2


GOOD = ScienceMetrics(
    sky=130.0, sky_gradient=4.0, noise=4.6, noise_ratio=1.02, fwhm=2.0, fwhm_range=0.2, elongation=1.08,
    n_sources=4000, astrometry_rung="prior", n_astrometry=900, rms_east=0.06, rms_north=0.07,
    astrometry_cells=(0.01, -0.01) * 16, zp30=26.0, masked_fraction=0.004, n_saturated=900,
    filter_name="r", rcid=5, area_deg2=area("ztf"), airmass=1.2, n_pixels=3072 * 3080, calibration_age_d=1.0,
    nmatches=400, magzprms=0.03, double_share=0.02,
)  # fmt: skip


def changed(**values):
    return dataclasses.replace(GOOD, **values)


def test_a_good_image_is_clean():
    verdict = judge(GOOD)
    assert (verdict.status, verdict.infobits, verdict.reason) == (1, 0, "")


@pytest.mark.parametrize(
    ("values", "bits", "words"),
    [
        ({"rms_east": 0.23}, [InfoBit.ASTROMETRY], "astrometric RMS 0.230 arcsec, over 0.2"),
        (
            {"astrometry_cells": (np.nan, np.nan, 0.2, 0.1)},
            [InfoBit.ASTROMETRY],
            "a cell is off by 0.224 arcsec",
        ),
        ({"astrometry_rung": "turned"}, [InfoBit.BLIND_SOLVE], "rung 'turned'"),
        ({"astrometry_rung": "pattern"}, [InfoBit.BLIND_SOLVE], "rung 'pattern'"),
        ({"n_astrometry": 49}, [InfoBit.FEW_ASTROMETRIC], "49 stars in the astrometric fit, under 50"),
        ({"colour_held": True}, [InfoBit.FEW_PHOTOMETRIC], "the colour coefficient is not"),
        (
            {"nmatches": 119},
            [InfoBit.FEW_PHOTOMETRIC, InfoBit.BAD_PHOTOMETRY],
            "119 stars in the photometric",
        ),
        (
            {"magzprms": 0.051},
            [InfoBit.ZERO_POINT_RMS, InfoBit.BAD_PHOTOMETRY],
            "scatter by 0.051 mag, over 0.05",
        ),
        ({"zp30": 26.58}, [InfoBit.BAD_PHOTOMETRY], "zero point 26.580 of 30 s, over 26.570"),
        ({"zp30": 25.66}, [InfoBit.BAD_PHOTOMETRY], "zero point 25.660 of 30 s, under 25.670"),
        ({"elongation": 1.4}, [InfoBit.ELONGATED], "PSF elongated 1.40, over 1.3"),
        ({"elongation": 2.2}, [InfoBit.ELONGATED, InfoBit.TRACKING], "stars are trails, elongated 2.20"),
        ({"double_share": 0.7}, [InfoBit.TRACKING], "70% of the stars have a second image"),
        ({"sky_gradient": 40.0}, [InfoBit.SKY_GRADIENT], "sky uneven by 31%, over 15%"),
        ({"n_saturated": 60_000}, [InfoBit.SATURATED], "0.63% of the pixels are saturated"),
        ({"masked_fraction": 0.08}, [InfoBit.MASKED], "8.0% of the pixels are masked, over 5%"),
        ({"calibration_age_d": 9.5}, [InfoBit.OLD_CALIBRATION], "calibration frames 9.5 d old, over 7"),
    ],
)
def test_each_condition_sets_its_bits_and_says_why(values, bits, words):
    verdict = judge(changed(**values))
    assert verdict.status == 1
    assert list(decode(verdict.infobits)) == sorted(bits)
    assert words in verdict.reason


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"n_sources": 0}, "no sources"),
        ({"n_sources": None}, "no sources"),
        ({"n_astrometry": None}, "no astrometric solution"),
        ({"zp30": None}, "no zero point"),
        ({"zp30": float("nan")}, "no zero point"),
        ({"zp30": 22.5}, "zero point 22.50 of 30 s, under 22.67: hardly any light"),
        ({"lost_fraction": 0.6}, "60% of the pixels are lost, over 50%"),
        ({"rms_north": 0.7}, "astrometric RMS 0.70 arcsec, over 0.5"),
        ({"noise_ratio": 9.0}, "noise is 9.0 times that expected, over 5"),
        ({"fwhm": 20.0}, "FWHM 20.0 px, over 15"),
    ],
)
def test_what_makes_an_image_unusable_comes_first(values, words):
    verdict = judge(changed(**values, calibration_age_d=20.0))
    assert verdict.status == 0
    assert words in verdict.reasons[0]
    assert verdict.infobits & InfoBit.OLD_CALIBRATION.flag


def test_an_image_of_which_nothing_is_known_is_unusable_without_bits():
    verdict = judge(ScienceMetrics())
    assert (verdict.status, verdict.infobits) == (0, 0)
    assert verdict.reasons == ("no sources", "no astrometric solution", "no zero point")


def test_a_condition_that_sets_two_bits_is_told_once():
    verdict = judge(changed(nmatches=10))
    assert len(verdict.reasons) == 1
    assert combine({InfoBit.FEW_PHOTOMETRIC, InfoBit.BAD_PHOTOMETRY}) == verdict.infobits


# Reference section 4.7, the later revision of the upper limits, rcid without its own lower limit.
ORIGINAL = {
    "g": (26.8, 25.86, 0.20, 0.06, 80),
    "r": (26.75, 25.85, 0.15, 0.05, 120),
    "i": (26.1, 25.31, 0.07, 0.06, 100),
}


@given(
    st.sampled_from("gri"),
    st.floats(24.5, 27.0),
    st.floats(1.0, 2.5),
    st.integers(60, 140),
    st.floats(0.03, 0.08),
)
def test_bit_25_is_the_originals_on_a_ztf_quadrant(name, zp, airmass, nmatches, magzprms):
    high, low, slope, limit, count = ORIGINAL[name]
    expected = (
        zp > high - slope * airmass or zp < low - slope * airmass or magzprms > limit or nmatches < count
    )
    metrics = changed(filter_name=name, zp30=zp, airmass=airmass, nmatches=nmatches, magzprms=magzprms)
    assert bool(judge(metrics).infobits & 33_554_432) == expected


def test_a_channel_may_have_its_own_lower_limit():
    cuts = PhotometricCuts(
        zp_high=26.75,
        zp_low=25.85,
        zp_low_of={5: 25.98},
        per_airmass=0.15,
        max_rms=0.05,
        matches_per_deg2=160.5,
    )
    config = VerdictConfig(filters={"r": cuts})
    dim = changed(zp30=25.75)
    assert judge(dim, config).infobits == InfoBit.BAD_PHOTOMETRY.flag
    assert judge(dataclasses.replace(dim, rcid=6), config).infobits == 0


def test_a_small_quadrant_needs_fewer_stars():
    small = changed(area_deg2=area("mini"), nmatches=8, n_astrometry=12)
    assert judge(small).infobits == 0
    assert judge(dataclasses.replace(small, nmatches=6)).infobits & InfoBit.BAD_PHOTOMETRY.flag


def test_without_an_airmass_only_what_holds_at_any_is_said():
    assert judge(changed(airmass=None, zp30=25.6)).infobits == 0
    assert judge(changed(airmass=None, zp30=25.4)).infobits == InfoBit.BAD_PHOTOMETRY.flag
    assert judge(changed(airmass=None, zp30=26.62)).infobits == InfoBit.BAD_PHOTOMETRY.flag


def test_a_filter_without_limits_is_judged_by_the_rest():
    assert judge(changed(filter_name="z", zp30=20.0, nmatches=1)).infobits == 0
    assert judge(changed(filter_name="z", elongation=1.5)).infobits == InfoBit.ELONGATED.flag


def rows(infobits, status=None):
    n = len(infobits)
    return pa.table(
        {
            "rcid": pa.array(range(n), pa.int16()),
            "status": pa.array([1] * n if status is None else status, pa.int8()),
            "infobits": pa.array(infobits, pa.int32()),
            "reason": pa.array(["clouds" if bits else "" for bits in infobits]),
        }
    )


BAD = InfoBit.BAD_PHOTOMETRY.flag


def test_an_exposure_of_which_half_is_bad_is_bad():
    before = rows([BAD, BAD, 8, 0], [1, 1, 1, 1])
    after = judge_exposure(before)
    assert after["infobits"].to_pylist() == [BAD, BAD, BAD | 8, BAD]
    why = "2 of 4 channels of the exposure are bad or failed"
    assert after["reason"].to_pylist() == ["clouds", "clouds", f"clouds; {why}", why]
    assert after.schema == before.schema
    assert after.select(["rcid", "status"]).equals(before.select(["rcid", "status"]))
    assert judge_exposure(after).equals(after)


def test_failed_channels_count_as_bad():
    assert judge_exposure(rows([BAD, 0, 0, 0], [1, 0, 1, 1]))["infobits"].to_pylist() == [BAD] * 4


def test_a_few_bad_channels_are_their_own_affair():
    before = rows([BAD, 0, 0, 0])
    assert judge_exposure(before).equals(before)
    assert judge_exposure(before, VerdictConfig(bad_quadrants=0.25))["infobits"].to_pylist() == [BAD] * 4
    assert judge_exposure(rows([])).num_rows == 0
