"""One quadrant in memory: raw counts to calibrated image, catalogues, zero point and verdict.

Stages in order of what they need from each other; each leaves what it found on the chain, so that an image
that fails on the way still tells how far it came and what was measured until then. Nothing is read or written
here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.background import Background, measure_background
from zsds_tasks.pixels.psf_model import PsfModel
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.astrometry import (
    AstrometricSolution,
    QuadrantView,
    nominal_model,
    solve,
)
from zsds_tasks.science.calibration.overscan import fit_overscan
from zsds_tasks.science.calibration.reduce import ReduceStats, reduce_quadrant
from zsds_tasks.science.masking.ghost_geometry import find_frame, plate_map
from zsds_tasks.science.masking.ghost_stamps import GhostStamp, collect_stamps
from zsds_tasks.science.masking.ghosts import ReflectionCounts, mask_reflections
from zsds_tasks.science.masking.saturation import mask_saturation
from zsds_tasks.science.masking.spikes import mask_spikes
from zsds_tasks.science.masking.tracks import mask_tracks
from zsds_tasks.science.photometry.apertures import ApertureCatalog, measure_apertures
from zsds_tasks.science.photometry.calibrators import CatalogStars, MeasuredSources
from zsds_tasks.science.photometry.depth import Depth
from zsds_tasks.science.photometry.psf_sources import PointSources, box_flags, measure_point_sources
from zsds_tasks.science.photometry.zeropoint import calibrate
from zsds_tasks.science.photometry.zeropoint_solution import ZeroPoint
from zsds_tasks.science.quality.science import ScienceMetrics
from zsds_tasks.science.quality.verdict import ScienceVerdict, judge
from zsds_tasks.steps.exposure.configuration import ExposureConfig
from zsds_tasks.steps.exposure.given import Buffers, Catalogs, ChainInput, known
from zsds_tasks.steps.exposure.measures import detected_sources, measure_limits, measure_quality

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]

STAGES = (
    "reduce", "background", "blemishes", "point_sources", "astrometry",
    "zero_point", "reflections", "apertures", "judge",
)  # fmt: skip
"""In the order of what they need from each other."""


@dataclass
class Chain:
    """The stages and what they found; None where they did not come so far.

    Parameters
    ----------
    given : ChainInput
    catalogs : Catalogs
    config : ExposureConfig
    buffers : Buffers
    """

    given: ChainInput = field(repr=False)
    catalogs: Catalogs = field(repr=False)
    config: ExposureConfig = field(repr=False)
    buffers: Buffers = field(repr=False)
    stage: str = "reduce"
    seconds: dict[str, float] = field(default_factory=dict)
    reduced: ReduceStats | None = None
    background: Background | None = None
    n_spikes: int | None = None
    n_tracks: int | None = None
    psf: PsfModel | None = None
    points: PointSources | None = None
    solution: AstrometricSolution | None = None
    ra: Floats | None = None
    dec: Floats | None = None
    zero_point: ZeroPoint | None = None
    reflections: ReflectionCounts | None = None
    ghost_stamps: tuple[GhostStamp, ...] = ()
    apertures: ApertureCatalog | None = None
    flags: NDArray[np.int32] | None = None
    depth: Depth | None = None
    quality: ScienceMetrics | None = None
    verdict: ScienceVerdict | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the image."""
        return self.buffers.image.shape[0], self.buffers.image.shape[1]

    @property
    def image(self) -> Image:
        """The calibrated image, DN, without its sky once that is known."""
        return self.buffers.image

    @property
    def mask(self) -> Mask:
        """Its mask."""
        return self.buffers.mask

    @property
    def pixel_scale_arcsec(self) -> float:
        """Side of a pixel: of the solution, or as the camera is drawn."""
        if self.solution is not None:
            return self.solution.wcs.pixel_scale_arcsec
        return self.given.camera.mosaic.pixel_scale_arcsec

    def run(self, stages: Sequence[str] = STAGES) -> Chain:
        """Run stages, by default all of them.

        Parameters
        ----------
        stages : sequence of str
            Of `STAGES`, in its order.

        Raises
        ------
        UnusableInputError
            If a stage cannot do its work; `stage` says which.
        ValueError
            If there is no such stage.
        """
        if unknown := [name for name in stages if name not in STAGES]:
            raise ValueError(f"no stage {', '.join(unknown)}; there are {', '.join(STAGES)}")
        for name in stages:
            self.stage = name
            began = time.process_time()
            getattr(self, f"_{name}")()
            self.seconds[name] = time.process_time() - began
        self.stage = "done"
        return self

    def enter(self, image: Image, mask: Mask, saturation_level: float) -> Chain:
        """Start from an image that was reduced elsewhere, in place of the stage ``reduce``.

        Parameters
        ----------
        image : (ny, nx) float32, DN, sky included
        mask : (ny, nx) uint16
            Of `MaskBit`; saturated pixels have theirs.
        saturation_level : float, DN
        """
        np.copyto(self.image, image)
        np.copyto(self.mask, mask)
        saturated = int(np.count_nonzero(mask & MaskBit.SATURATED.flag))
        unusable = int(np.count_nonzero(mask & UNUSABLE))
        self.reduced = ReduceStats(0, saturated, 0, unusable, saturation_level)
        return self

    def _reduce(self) -> None:
        given, config = self.given, self.config
        level = fit_overscan(given.overscan, given.quadrant.amplifier.read_x, config.overscan).level
        self.reduced = reduce_quadrant(
            given.raw,
            level,
            given.facts,
            bias=given.bias,
            flat=given.flat,
            smooth=given.smooth,
            static_mask=given.static_mask,
            out_image=self.image,
            out_mask=self.mask,
            config=config.reduce,
        )
        usable = self.image.size - self.reduced.unusable
        if usable < config.least_usable * self.image.size:
            raise UnusableInputError(
                f"{usable / self.image.size:.1%} of the pixels are usable, under {config.least_usable:.0%}",
                subject=given.subject,
                remedy="look at the raw frame: light, readout, masters",
            )

    def _background(self) -> None:
        self.background = measure_background(self.image, self.mask, UNUSABLE, self.config.background)
        known(self.background).level.add_to(self.image, -1.0)

    def _blemishes(self) -> None:
        """Mask bleeds, radiation hits and tracks; how wide stars are is what the search for hits measures."""
        noise, gain, config = known(self.background).noise, self.given.facts.gain, self.config
        level = known(self.reduced).saturation_level - float(np.median(known(self.background).level.values))
        mask_saturation(self.image, self.mask, noise, gain, level, config.saturation)
        spikes = mask_spikes(self.image, self.mask, noise, gain, config.spikes)
        self.n_spikes = spikes.pixels
        self.n_tracks = len(mask_tracks(self.image, self.mask, noise, spikes.fwhm, config.tracks))

    def _point_sources(self) -> None:
        found = measure_point_sources(
            self.image,
            self.mask,
            known(self.background).noise,
            self.given.facts.gain,
            self.config.psf,
            scratch=self.buffers.scratch,
            keep_residual=True,
        )
        self.psf, self.points = found.psf, found

    def _astrometry(self) -> None:
        config = self.config.astrometry
        view = self.view
        points = known(self.points)
        self.flags = box_flags(self.mask, points.xpos, points.ypos)
        sources = detected_sources(points, self.flags)
        near, wide = config.search.shift_radius_arcsec, config.search.wide_radius_arcsec
        try:
            stars = self.catalogs.astrometric(view.centre, view.search_radius_deg(near))
            self.solution = solve(sources, stars, view, config)
        except UnusableInputError:
            # The searches that also turn need more of the catalogue, which few images do.
            stars = self.catalogs.astrometric(view.centre, view.search_radius_deg(wide))
            self.solution = solve(sources, stars, view, config)
        self.ra, self.dec = known(self.solution).wcs.pixel_to_sky(points.xpos, points.ypos)

    @property
    def view(self) -> QuadrantView:
        """Where the image should look."""
        given = self.given
        if given.view is not None:
            return given.view
        nominal = nominal_model(given.camera, given.quadrant.rcid)
        return QuadrantView(given.subject, given.pointing, given.mjd, nominal, given.prior)

    def _zero_point(self) -> None:
        points, solution = known(self.points), known(self.solution)
        ny, nx = self.shape
        centre = tuple(float(v[0]) for v in solution.wcs.pixel_to_sky([(nx + 1) / 2], [(ny + 1) / 2]))
        radius = self.view.search_radius_deg(self.config.catalog_margin_arcsec)
        rows = self.catalogs.photometric((centre[0], centre[1]), radius)
        columns = {name: rows.column(name).to_numpy() for name in rows.column_names}
        measured = MeasuredSources(
            points.xpos,
            points.ypos,
            known(self.ra),
            known(self.dec),
            points.flux,
            points.sigflux,
            known(self.flags),
            points.chi,
        )
        self.zero_point = calibrate(
            measured,
            CatalogStars.from_columns(columns),
            self.given.filter_name,
            self.shape,
            self.config.zero_point,
            subject=self.given.subject,
        )

    def _reflections(self) -> None:
        """Mask ghosts and halos of bright stars anywhere in the field, and keep cut-outs to learn from."""
        given, config = self.given, self.config.ghosts
        frame = find_frame(known(self.solution).wcs, given.camera, given.quadrant.rcid)
        plate = plate_map(known(self.solution).wcs, self.shape, frame)
        stars = self.catalogs.bright((frame.ra, frame.dec), self._field_radius_deg)
        noise = float(np.median(known(self.background).noise.values))
        zero_point = known(self.zero_point).magzp
        residual = known(known(self.points).residual)  # without sources: only reflections stand out
        level, prior = known(self.background).level, config.prior
        found = collect_stamps(
            residual, self.mask, level, plate, stars, zero_point, noise, prior, config.stamps
        )
        self.ghost_stamps = tuple(found)
        self.reflections = mask_reflections(
            self.mask, plate, stars, zero_point, noise, given.ghost_model, config.masking
        )

    @property
    def _field_radius_deg(self) -> float:
        """Of the circle that holds every star whose ghost or halo can fall on the camera."""
        return (
            float(np.hypot(*self.given.camera.half_size_arcsec)) / 3600.0
            + self.config.ghosts.field_margin_arcsec / 3600.0
        )

    def _apertures(self) -> None:
        self.apertures = measure_apertures(
            self.image,
            self.mask,
            known(self.background),
            self.given.facts.gain,
            known(self.psf),
            self.config.apertures,
            labels=self.buffers.labels,
        )
        # Ghosts and halos have come since the first look.
        self.flags = box_flags(self.mask, known(self.points).xpos, known(self.points).ypos)

    def _judge(self) -> None:
        self.depth = measure_limits(self)
        self.quality = measure_quality(self)
        self.verdict = judge(self.quality, self.config.verdict)
