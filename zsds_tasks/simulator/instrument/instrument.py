"""The whole instrument: its configuration and, built from it, one camera with its optics and CCDs."""

from __future__ import annotations

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.effects import Effects
from zsds_tasks.simulator.instrument.cosmic_rays import CosmicRayConfig
from zsds_tasks.simulator.instrument.detector import Ccd, DetectorConfig, build_ccd
from zsds_tasks.simulator.instrument.optics import Optics, OpticsConfig
from zsds_tasks.simulator.instrument.psf import PsfConfig
from zsds_tasks.simulator.instrument.reflections import ReflectionConfig
from zsds_tasks.simulator.instrument.throughput import ThroughputConfig
from zsds_tasks.survey.camera import Camera

CCDS_KEPT = 2  # built CCDs kept in memory: all of a small camera, 300 MB of a large one


class InstrumentConfig(Declaration):
    """Constants of telescope, optics and detector: the `instrument` part of simulator.yaml."""

    psf: PsfConfig
    optics: OpticsConfig
    throughput: ThroughputConfig
    reflections: ReflectionConfig
    detector: DetectorConfig
    cosmic_rays: CosmicRayConfig


class Instrument:
    """One camera as it really is: fixed by its name and a seed.

    Parameters
    ----------
    camera : Camera
        What its declaration says.
    config : InstrumentConfig
        Sizes of the imperfections.
    effects : Effects
        Which of them exist.
    seed : int
        Of the simulation.
    """

    def __init__(self, camera: Camera, config: InstrumentConfig, effects: Effects, seed: int) -> None:
        self.camera = camera
        self.config = config
        self.effects = effects
        self.seed = seed
        self.optics = Optics(
            camera,
            config.optics,
            seed,
            distortion=effects.distortion,
            refraction=effects.differential_refraction,
            misalignment=effects.distortion,
        )
        self._ccds: dict[int, Ccd] = {}

    def ccd(self, ccdid: int) -> Ccd:
        """Return one CCD; the last few are kept."""
        if ccdid not in self._ccds:
            while len(self._ccds) >= CCDS_KEPT:
                self._ccds.pop(next(iter(self._ccds)))
            self._ccds[ccdid] = build_ccd(self.camera, self.config.detector, self.effects, self.seed, ccdid)
        return self._ccds[ccdid]
