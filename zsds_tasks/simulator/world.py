"""The simulated world and its nights: the door to everything the simulator makes of the sky."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from zsds_tasks.simulator.configuration import SimulatorConfig, load_simulator
from zsds_tasks.simulator.observing.conditions import NightWeather
from zsds_tasks.simulator.observing.exposures import ExposureMaker
from zsds_tasks.simulator.observing.schedule import Site, plan_night
from zsds_tasks.simulator.products import Exposure, Scene
from zsds_tasks.simulator.sky.asteroids import Asteroids, candidates, fast_asteroids
from zsds_tasks.simulator.sky.scene import SceneMaker
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.fields import load_fields
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import load_survey


@dataclass(frozen=True)
class World:
    """Everything that exists for a seed: the same objects for every camera, night and worker."""

    site: Site
    config: SimulatorConfig
    seed: int

    @classmethod
    def of(cls, camera: str, include: Path, seed: int, config: SimulatorConfig | None = None) -> World:
        """Return the world as seen by a camera declared under `include`."""
        loaded = load_camera(camera, include)
        site = Site(loaded, load_survey(loaded.survey, include), load_fields(loaded.fields, include))
        return cls(site, config or load_simulator(include), seed)

    def night(self, night: ObservingNight, *, exposures: int | None = None, campaign: str = "") -> Night:
        """Plan and begin a night; `exposures` cuts it short after so many science exposures.

        `campaign` is one of those of the schedule's configuration.
        """
        config, effects = self.config, self.config.effects
        schedule, fields = config.schedule.during(campaign)
        site = self.site.with_fields(fields)
        plans = plan_night(site, schedule, self.seed, night, exposures=exposures)
        maker = ExposureMaker(
            site=self.site,
            schedule=schedule,
            conditions=config.conditions,
            pointing=config.pointing,
            effects=effects,
            seed=self.seed,
            night=night,
            weather=NightWeather.of(config.conditions, effects, self.seed, night),
        )
        made = tuple(maker.make(plan) for plan in plans)
        bodies = self._bodies(night, made)
        return Night(night, made, SceneMaker(self.site, config, self.seed, bodies))

    def _bodies(self, night: ObservingNight, made: tuple[Exposure, ...]) -> Asteroids:
        """Return the asteroids that can matter in a night."""
        config, observer, camera = self.config.asteroids, self.site.observer, self.site.camera
        east, north = camera.half_size_arcsec
        radius = (east**2 + north**2) ** 0.5 / 3600.0
        return Asteroids.concatenate(
            [
                candidates(config, self.seed, observer, made, radius),
                fast_asteroids(config, self.seed, night, camera, observer, made),
            ]
        )


@dataclass(frozen=True)
class Night:
    """One night of a world: its exposures in order of time, and the scene of each."""

    night: ObservingNight
    exposures: tuple[Exposure, ...] = field(repr=False)
    maker: SceneMaker = field(repr=False)

    def scene(self, exposure: Exposure, ccdid: int | None = None) -> Scene:
        """Return what reaches one CCD (or the whole camera) in an exposure."""
        return self.maker.scene(exposure, ccdid)
