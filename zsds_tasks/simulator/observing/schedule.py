"""What a camera does in a night: afternoon calibrations, engineering frames at dusk, then the survey.

This module plans (when, what, where to); `pointing` and `conditions` say what truly happened.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field as Key

from zsds_tasks.declarations import Declaration
from zsds_tasks.errors import ConfigurationError, NothingToDoError
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.sky import horizon
from zsds_tasks.sky.horizon import Observer
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.survey.camera import Camera
from zsds_tasks.survey.fields import Field, FieldGrid
from zsds_tasks.survey.nights import ObservingNight, mjd
from zsds_tasks.survey.survey import Filter, Survey

Count = Annotated[int, Key(ge=0)]
Positive = Annotated[float, Key(gt=0)]


class Campaign(Declaration):
    """A way to spend nights: on few fields and filters there is depth soon, and so references."""

    grid: str  # the fields' file
    fields: tuple[int, ...]
    filters: tuple[str, ...]
    exposures: Count  # a night, unless asked otherwise
    pass_interval_s: Positive | None = None  # default: as in other nights


class ScheduleConfig(Declaration):
    """Habits of the simulated observatory."""

    calibration_start_ut: dt.time
    bias_frames: Count
    flats_per_led: Count
    short_flats_per_led: Count
    flat_exposure_s: Positive
    short_flat_exposure_s: Positive
    flat_level_dn: Positive  # at flat_exposure_s, in the middle of the field
    led_wavelength_nm: dict[int, float]
    led_power_mw: Positive
    engineering_frames: bool
    science_exposures: Count  # a night, unless asked otherwise
    science_sun_altitude_deg: Annotated[float, Key(le=0)]
    max_airmass: Annotated[float, Key(gt=1)]
    moon_avoidance_deg: Annotated[float, Key(ge=0)]
    filter_sequence: tuple[str, ...]
    fields_per_block: Annotated[int, Key(ge=1)]
    pass_interval_s: Positive
    filter_exchange_s: Annotated[float, Key(ge=0)]
    program_weights: dict[int, float]
    file_epoch_lag_s: tuple[float, float]
    campaigns: dict[str, Campaign]

    def during(self, campaign: str) -> tuple[ScheduleConfig, tuple[int, ...]]:
        """Return the habits during a campaign, and its fields; empty names none, and no fields mean all.

        Raises
        ------
        ConfigurationError
            If no campaign has this name.
        """
        if not campaign:
            return self, ()
        if campaign not in self.campaigns:
            raise ConfigurationError(
                f"no campaign is called {campaign!r}",
                subject="include/config/simulator.yaml",
                remedy=f"choose of {', '.join(sorted(self.campaigns)) or 'none'}, or declare it",
            )
        chosen = self.campaigns[campaign]
        changes = {
            "filter_sequence": chosen.filters,
            "science_exposures": chosen.exposures,
            "pass_interval_s": chosen.pass_interval_s or self.pass_interval_s,
        }
        return self.model_copy(update=changes), chosen.fields


@dataclass(frozen=True)
class Plan:
    """One line of the night's plan."""

    start: dt.datetime
    exptime_s: float
    imgtypecode: str
    programid: int
    field: Field | None = None
    filter: Filter | None = None
    led: int | None = None


@dataclass(frozen=True)
class Site:
    """Everything about where and with what the night is observed."""

    camera: Camera
    survey: Survey
    fields: FieldGrid

    @property
    def observer(self) -> Observer:
        """The camera's place on the Earth."""
        place = self.camera.site
        return Observer(place.latitude_deg, place.longitude_deg, place.elevation_m)

    def with_fields(self, chosen: tuple[int, ...]) -> Site:
        """Return the site with some fields of its grid; none named are all.

        Raises
        ------
        ConfigurationError
            If the grid has no such field.
        """
        missing = [number for number in chosen if number not in self.fields.by_id]
        if missing:
            raise ConfigurationError(
                f"grid {self.fields.name} has no field {', '.join(map(str, missing))}",
                subject="campaigns of include/config/simulator.yaml",
                remedy="choose a campaign of this camera's grid",
            )
        if not chosen:
            return self
        fields = tuple(self.fields.by_id[number] for number in chosen)
        grid = self.fields
        few = FieldGrid(
            name=grid.name, description=grid.description, pointing_exact=grid.pointing_exact, fields=fields
        )
        return replace(self, fields=few)


def plan_night(
    site: Site, config: ScheduleConfig, seed: int, night: ObservingNight, *, exposures: int | None = None
) -> tuple[Plan, ...]:
    """Return the plan of one night, in order of time.

    Parameters
    ----------
    site : Site
    config : ScheduleConfig
    seed : int
    night : ObservingNight
    exposures : int, optional
        Cut the night short after this many science exposures; default `config.science_exposures`.

    Raises
    ------
    NothingToDoError
        If no field of the grid can be observed in this night.
    """
    wanted = config.science_exposures if exposures is None else exposures
    dusk, dawn = dark_hours(site, config, night)
    calibrations = _calibrations(site, config, night)
    science = _science(site, config, seed, night, (dusk, dawn), wanted)
    if wanted and not science:
        raise NothingToDoError(
            f"no field of grid {site.fields.name} stands above airmass {config.max_airmass} in the dark",
            subject=f"night {night} of camera {site.camera.name}",
            remedy="choose another season (the grid's file names the right ascensions)",
        )
    engineering = _engineering(site, config, science) if config.engineering_frames and science else ()
    return (*calibrations, *engineering, *science)


def dark_hours(site: Site, config: ScheduleConfig, night: ObservingNight) -> tuple[dt.datetime, dt.datetime]:
    """Return when the Sun sinks below, and rises above, the altitude that allows science (to a minute)."""
    first, last = night.bounds(site.camera.site.noon_utc_hour)
    minutes = int((last - first).total_seconds() // 60)
    times = mjd(first) + np.arange(minutes) / 1440.0
    _, _, altitude = horizon.horizontal(*horizon.sun(times), times, site.observer)
    dark = np.flatnonzero(altitude < config.science_sun_altitude_deg)
    if not len(dark):
        raise NothingToDoError(
            "the Sun never sinks low enough", subject=f"night {night} at {site.camera.site.name}"
        )
    return first + dt.timedelta(minutes=int(dark[0])), first + dt.timedelta(minutes=int(dark[-1]))


def _calibrations(site: Site, config: ScheduleConfig, night: ObservingNight) -> tuple[Plan, ...]:
    """Bias frames, then every LED of every filter at two exposure times."""
    first, _ = night.bounds(site.camera.site.noon_utc_hour)
    start = dt.datetime.combine(first.date(), config.calibration_start_ut, tzinfo=dt.UTC)
    start += dt.timedelta(days=1) if start < first else dt.timedelta()
    plans = []
    for _ in range(config.bias_frames):
        plans.append(Plan(start, 0.0, "b", 0))
        start += _cycle(site.camera, 0.0)
    for filter_ in site.survey.filters:
        for led in filter_.leds:
            times = [config.flat_exposure_s] * config.flats_per_led
            times += [config.short_flat_exposure_s] * config.short_flats_per_led
            for exptime in times:
                plans.append(Plan(start, exptime, "f", 0, filter=filter_, led=led))
                start += _cycle(site.camera, exptime)
    return tuple(plans)


def _engineering(site: Site, config: ScheduleConfig, science: tuple[Plan, ...]) -> tuple[Plan, ...]:
    """Plan a focus frame, a pointing frame and a short test without light, just before the survey."""
    first = science[0]
    start = first.start - dt.timedelta(minutes=10)
    focus = Plan(start, 10.0, "c", 0, first.field, first.filter)
    start += _cycle(site.camera, focus.exptime_s)
    pointing = Plan(start, 5.0, "p", 0, science[len(science) // 2].field, first.filter)
    start += _cycle(site.camera, pointing.exptime_s) + dt.timedelta(seconds=config.filter_exchange_s)
    return focus, pointing, Plan(start, 1.0, "e", 0)


def _science(
    site: Site,
    config: ScheduleConfig,
    seed: int,
    night: ObservingNight,
    hours: tuple[dt.datetime, dt.datetime],
    wanted: int,
) -> tuple[Plan, ...]:
    """Plan blocks of fields; each is passed once per filter of the sequence, so that visits come in pairs."""
    plans: list[Plan] = []
    (start, dawn), block = hours, 0
    visits: dict[int, int] = {}
    while start < dawn and len(plans) < wanted:
        passes = len(config.filter_sequence)
        span = dt.timedelta(seconds=config.pass_interval_s * passes)
        fields = _choose(site, config, seed, night, (start, min(start + span, dawn)), visits)
        random = generator(seed, "programmes", night, block)
        programs = _programs(config, random, len(fields))
        for name in config.filter_sequence if fields else ():
            filter_ = next(f for f in site.survey.filters if f.name == name)
            pass_start = start
            for field, program in zip(fields, programs, strict=True):
                if len(plans) >= wanted or start >= dawn:
                    break
                plans.append(Plan(start, site.camera.exposure.standard_s, "o", program, field, filter_))
                visits[field.id] = visits.get(field.id, 0) + 1
                start += _cycle(site.camera, site.camera.exposure.standard_s)
            busy = start + dt.timedelta(seconds=config.filter_exchange_s)
            start = max(busy, pass_start + dt.timedelta(seconds=config.pass_interval_s))
        if not fields:
            start += dt.timedelta(minutes=10)
        block += 1
    return tuple(plans)


def _choose(
    site: Site,
    config: ScheduleConfig,
    seed: int,
    night: ObservingNight,
    span: tuple[dt.datetime, dt.datetime],
    visits: dict[int, int],
) -> list[Field]:
    """Fields that stay observable through a block: the least visited, then those that set first."""
    fields = site.fields.all_fields
    ra, dec = np.array([f.ra for f in fields]), np.array([f.dec for f in fields])
    worst = np.zeros(len(fields))
    for instant in (span[0], span[0] + (span[1] - span[0]) / 2, span[1]):
        _, _, altitude = horizon.horizontal(ra, dec, mjd(instant), site.observer)
        worst = np.maximum(worst, horizon.airmass(altitude))
    hour_angle, _, _ = horizon.horizontal(ra, dec, mjd(span[0]), site.observer)
    moon_ra, moon_dec, _ = horizon.moon(mjd(span[0]), site.observer)
    clear = separation_deg(ra, dec, float(moon_ra), float(moon_dec)) > config.moon_avoidance_deg
    usable = np.flatnonzero((worst < config.max_airmass) & clear)
    # A nightly preference for some declinations keeps blocks of a large grid compact and nights different.
    preferred = float(generator(seed, "declination", night).uniform(-10.0, 50.0))
    order = sorted(
        usable,
        key=lambda i: (visits.get(fields[i].id, 0), abs(dec[i] - preferred) // 25.0, -hour_angle[i]),
    )
    chosen = order[: config.fields_per_block]
    return [fields[i] for i in sorted(chosen, key=lambda i: -hour_angle[i])]


def _programs(config: ScheduleConfig, random: np.random.Generator, count: int) -> list[int]:
    """Return one programme per field of the block, as near the survey's shares as whole fields allow."""
    ids = np.array(sorted(config.program_weights))
    shares = np.cumsum([config.program_weights[i] for i in ids])
    steps = (np.arange(count) + random.random()) / max(count, 1) * shares[-1]
    return [int(i) for i in random.permutation(ids[np.searchsorted(shares, steps, side="right")])]


def _cycle(camera: Camera, exptime_s: float) -> dt.timedelta:
    """Time from one shutter opening to the next: the exposure, its readout and the usual slew."""
    times = camera.exposure
    return dt.timedelta(seconds=exptime_s + times.cycle_s - times.standard_s)
