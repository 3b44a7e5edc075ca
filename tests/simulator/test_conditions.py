"""Air and sky: brightness laws, and switches that switch what they say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scene_builders import NIGHT, light_config, make_night, make_world, science

from zsds_tasks.simulator.effects import Effects
from zsds_tasks.simulator.instrument.psf import SMALLEST_SIGMA_PX, pixel_variance
from zsds_tasks.simulator.observing.conditions import NightWeather, SkyGeometry, sky_brightness
from zsds_tasks.simulator.observing.exposures import ExposureMaker
from zsds_tasks.simulator.observing.schedule import plan_night
from zsds_tasks.survey.nights import ObservingNight

MOONLIT = ObservingNight.parse("20251103")  # two days before full Moon, which is up at dusk
DARK = SkyGeometry(
    airmass=1.0, moon_altitude=-30.0, moon_illumination=0.5, moon_separation=90.0, sun_altitude=-40.0
)


def brightness(name="r", effects=None, **changes):
    survey = make_world().site.survey
    filter_ = next(f for f in survey.filters if f.name == name)
    geometry = dataclasses.replace(DARK, **changes)
    return sky_brightness(filter_, geometry, light_config().conditions, effects or Effects())


@pytest.mark.parametrize(("name", "mag"), [("g", 22.0), ("r", 21.2), ("i", 20.5)])
def test_the_dark_zenith_is_as_declared(name, mag):
    assert brightness(name) == pytest.approx(mag, abs=1e-4)


def test_sky_counts_match_the_reference():
    """Reference 15.5: g 65, r 90, i 100 DN per pixel in 30 s."""
    night = make_night(exposures=40)
    for fid, dn in ((1, 65), (2, 90), (3, 100)):
        dark = [
            e.sky_electrons_per_arcsec2 * 1.012**2 / e.nominal_gain
            for e in science(night)
            if e.fid == fid and e.sun_altitude_deg < -18
        ]
        assert min(dark) == pytest.approx(dn, rel=0.25)


def test_moon_twilight_and_airmass_brighten_the_sky():
    full_moon = {"moon_altitude": 60.0, "moon_illumination": 1.0, "moon_separation": 60.0}
    assert 2.0 < brightness("g") - brightness("g", **full_moon) < 5.0
    assert brightness("g", **full_moon) > brightness("g", **full_moon | {"moon_separation": 20.0})
    assert brightness(sun_altitude=-12.0) == pytest.approx(21.2 - 0.067 * 36, abs=0.01)
    assert brightness(airmass=2.0) < brightness()


def test_switched_off_light_leaves_the_dark_sky():
    bright = {"moon_altitude": 60.0, "moon_illumination": 1.0, "sun_altitude": -13.0}
    assert brightness(effects=Effects(moonlight=False, twilight=False), **bright) == brightness()


def test_seeing_follows_airmass_and_has_a_sane_median():
    config = light_config().conditions
    values = []
    for seed in range(200):
        weather = NightWeather.of(config, Effects(), seed, NIGHT)
        values.append(weather.seeing_arcsec(8.0, 1.2, "r"))
        ratio = weather.seeing_arcsec(8.0, 1.6, "r") / weather.seeing_arcsec(8.0, 1.2, "r")
        assert ratio == pytest.approx((1.6 / 1.2) ** 0.6) or values[-1] == config.seeing_floor_arcsec
    assert np.median(values) == pytest.approx(config.seeing_median_arcsec * 1.2**0.6, abs=0.1)
    assert max(values) < 3.2


def test_cloudy_nights_are_as_frequent_as_declared_and_clouds_dim():
    config = light_config().conditions
    nights = [NightWeather.of(config, Effects(), seed, NIGHT) for seed in range(400)]
    assert np.mean([n.is_cloudy for n in nights]) == pytest.approx(config.cloudy_night_fraction, abs=0.07)
    cloudy = next(n for n in nights if n.is_cloudy)
    clouds = [cloudy.clouds_mag(h) for h in np.linspace(4, 16, 50)]
    assert max(clouds) > 0.1
    assert min(clouds) >= 0.0


# The telescope looks elsewhere: other air, another distance from the Moon.
ELSEWHERE = {
    *("boresight_ra", "boresight_dec", "airmass", "hour_angle_deg", "azimuth_deg", "elevation_deg"),
    *(
        "parallactic_deg",
        "zero_point",
        "sky_mag_per_arcsec2",
        "seeing_fwhm_arcsec",
        "header_ra",
        "header_dec",
    ),
}


@pytest.mark.parametrize(
    ("effect", "changed"),
    [
        ("clouds", {"extinction_mag", "zero_point", "extinction_gradient"}),
        ("moonlight", {"sky_mag_per_arcsec2"}),
        ("twilight", {"sky_mag_per_arcsec2"}),
        ("seeing_variation", {"seeing_fwhm_arcsec"}),
        ("psf_variation", {"psf_ellipticity", "psf_angle_deg"}),
        ("pointing_error", ELSEWHERE | {"rotation_deg"}),
        ("dithers", ELSEWHERE | {"requested_ra", "requested_dec"}),
    ],
)
def test_a_switch_changes_what_it_says_and_nothing_else(effect, changed):
    on, off = (
        science(make_world("mini", 5, *without).night(MOONLIT, exposures=12)) for without in ((), (effect,))
    )
    assert all(e.moon_altitude_deg > 0 for e in on)
    differing = {
        f.name
        for a, b in zip(on, off, strict=True)
        for f in dataclasses.fields(a)
        if getattr(a, f.name) != getattr(b, f.name)
    }
    assert differing - {"weather"} == changed


def test_a_moonlit_night_is_brighter_by_its_moon():
    on, off = (
        science(make_world("mini", 5, "twilight", *without).night(MOONLIT, exposures=12))
        for without in ((), ("moonlight",))
    )
    brighter = [b.sky_mag_per_arcsec2 - a.sky_mag_per_arcsec2 for a, b in zip(on, off, strict=True)]
    assert 0.5 < min(brighter) <= max(brighter) < 5.0


def test_what_is_delivered_is_as_sharp_as_the_reference_says():
    """Reference 1.1: 2.0 arcsec in the median; 15.5: 1.5 to 3.5. Pixel and diffusion widen the seeing."""
    config = light_config()
    core, scale = config.instrument.psf.core, make_world().site.camera.mosaic.pixel_scale_arcsec
    radius = np.linspace(0.0, 3.0, 3001)
    delivered = []
    for seed in range(200):
        seeing = NightWeather.of(config.conditions, Effects(), seed, NIGHT).seeing_arcsec(8.0, 1.2, "r")
        variance = core.variances * (seeing / scale) ** 2 + pixel_variance(config.instrument.psf)
        variance = np.maximum(variance, SMALLEST_SIGMA_PX**2)
        profile = (core.weights / variance * np.exp(-(radius[:, None] ** 2) / (2 * variance))).sum(axis=1)
        delivered.append(2 * scale * np.interp(-profile[0] / 2, -profile, radius))
    assert np.median(delivered) == pytest.approx(2.05, abs=0.1)
    assert 1.5 < min(delivered) < max(delivered) < 3.6


def test_without_pointing_errors_the_header_tells_the_truth():
    for e in science(make_night(without=("pointing_error", "dithers"), exposures=12)):
        field = make_world().site.fields.by_id[e.field]
        assert (e.boresight_ra, e.boresight_dec, e.rotation_deg) == (field.ra, field.dec, 0.0)
        assert (e.header_ra, e.header_dec) == (e.boresight_ra, e.boresight_dec)


def test_the_header_is_wrong_by_realistic_amounts():
    world, effects, errors = make_world(), Effects(), []
    config, site = world.config, world.site
    plans = [p for p in plan_night(site, config.schedule, 5, NIGHT, exposures=12) if p.imgtypecode == "o"]
    for seed in range(60):
        weather = NightWeather.of(config.conditions, effects, seed, NIGHT)
        parts = (site, config.schedule, config.conditions, config.pointing, effects, seed, NIGHT, weather)
        for e in (ExposureMaker(*parts).make(plan) for plan in plans[::5]):
            east = (e.boresight_ra - e.header_ra) * np.cos(np.radians(e.header_dec))
            errors.append(3600 * np.hypot(east, e.boresight_dec - e.header_dec))
    assert np.median(errors) == pytest.approx(22.0, abs=3.0)
    assert max(errors) < 120.0
    dithers = [
        np.hypot(
            e.requested_dec - make_world().site.fields.by_id[e.field].dec,
            (e.requested_ra - make_world().site.fields.by_id[e.field].ra)
            * np.cos(np.radians(e.requested_dec)),
        )
        * 3600
        for e in science(make_night())
    ]
    assert all(2.9 < d < 45.1 for d in dithers)
