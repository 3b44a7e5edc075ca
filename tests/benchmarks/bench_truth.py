"""The chain on pairs of full-size exposures, scored against truth as the night's score does it.

    python tests/benchmarks/bench_truth.py [sky:seeing ...]        default: all of FIELDS, all SEEDS

Two exposures of the same stars for each field and seed, so repeatability is measured too. Masters are the
planted ones. Numbers are medians over the seeds; completeness and purity are sums over them.
"""
# ruff: noqa: T201 - a benchmark prints its table

from __future__ import annotations

import sys
from collections import defaultdict

import numpy as np
from bench_science import chain_of

from zsds_tasks.settings import load_settings
from zsds_tasks.simulator.score_matching import Channel, Columns, columns_of, match_sources
from zsds_tasks.simulator.score_samples import MAG_EDGES, Samples
from zsds_tasks.simulator.score_verdict import measures_of
from zsds_tasks.simulator.sky.census import take_census
from zsds_tasks.simulator.testbed import SKIES, ExposedQuadrant, expose_quadrant
from zsds_tasks.simulator.truth.objects import object_table
from zsds_tasks.steps.exposure.calibrated import Calibrated, combine
from zsds_tasks.steps.exposure.configuration import load_exposure_config
from zsds_tasks.steps.exposure.given import Buffers
from zsds_tasks.survey.nights import mjd

FIELDS = ("sparse:1.3", "ordinary:2.0", "rich:1.6", "rich:2.6", "crowded:1.6")
SEEDS = (911, 912, 913)
FAINTEST = 23.0


def truth_of(exposed: ExposedQuadrant) -> Columns:
    """Return what is true of an exposure, with the colours of its stars (g - r: the filter is r)."""
    columns = columns_of(exposed.detections.drop_columns(["kind"]))
    kind = exposed.detections["kind"].to_numpy(zero_copy_only=False)
    world = exposed.stage.world
    census = take_census(world.site, world.config, world.seed, [exposed.middle], mjd(exposed.exposure.middle))
    bodies = exposed.stage.night.maker.bodies
    objects = columns_of(object_table(world.config, census, bodies, FAINTEST).sort_by("object_id"))
    row = np.searchsorted(objects["object_id"], columns["object_id"])
    row = np.minimum(row, len(objects["object_id"]) - 1)
    colour = (objects["g"] - objects["r"])[row]
    columns["colour"] = np.where(objects["object_id"][row] == columns["object_id"], colour, np.nan)
    columns["is_star"] = (kind == "star") & np.isfinite(columns["colour"])
    columns["is_galaxy"] = kind == "galaxy"
    return columns


def found_by(done: Calibrated) -> Columns:
    """Return the columns of `sources` that the score reads."""
    points, rows = done.points, np.maximum(done.partner, 0)
    return {
        "xpos": points.xpos, "ypos": points.ypos, "ra": done.ra, "dec": done.dec,
        "sigpos": np.hypot(points.sigx, points.sigy) / np.sqrt(2) * done.pixel_scale_arcsec,
        "flux": points.flux, "sigflux": points.sigflux, "mag": done.mag, "snr": points.flux / points.sigflux,
        "flags": done.flags,
        "class_star": np.where(done.partner >= 0, done.apertures.class_star[rows], np.nan),
    }  # fmt: skip


def channel_of(exposed: ExposedQuadrant, done: Calibrated) -> Channel:
    """Return what `science_images` would say."""
    return Channel(
        expid=exposed.exposure.expid,
        rcid=exposed.quadrant.rcid,
        fid=exposed.exposure.fid,
        magzp=done.zero_point.magzp,
        clrcoeff=done.zero_point.clrcoeff,
        maglimit=done.depth.limit,
        saturate=done.chain.reduced.saturation_level,
        fwhm_px=done.psf.fwhm,
        gain=exposed.quadrant.detector.gain,
        shape=exposed.raw.shape,
    )


def gather(sky: str, seeing: float, seed: int) -> Samples:
    """Expose twice, calibrate, compare."""
    include, samples = load_settings().include, Samples()
    config = load_exposure_config(include)
    for number in (0, 1):
        exposed = expose_quadrant(include, seed=seed, place=SKIES[sky], seeing_arcsec=seeing, number=number)
        chain = chain_of(exposed, config, Buffers.of(exposed.raw.shape)).run()
        done = combine(chain)
        channel, truth, found = channel_of(exposed, done), truth_of(exposed), found_by(done)
        samples.add(truth, found, match_sources(truth, found, channel), channel)
    return samples


def measure(field: str) -> None:
    """Print the rows of one field."""
    sky, seeing = field.split(":")
    values, counts = defaultdict(list), np.zeros((4, len(MAG_EDGES) - 1))
    for seed in SEEDS:
        samples = gather(sky, float(seeing), seed)
        counts += [samples.found, samples.true, samples.real, samples.claimed]
        for one in measures_of(samples, [], 1.0, 2):
            values[one.measure].append((one.value, one.target))
    print(f"\n## {field}, seeds {', '.join(map(str, SEEDS))}")
    for name, found in values.items():
        value, target = np.median(found, axis=0)
        print(f"| {name} | {value:.4g} | {target:.4g} | {min(v for v, _ in found):.4g} to "
              f"{max(v for v, _ in found):.4g} |")  # fmt: skip
    pairs = counts.reshape(4, -1, 2).sum(axis=2)
    with np.errstate(invalid="ignore"):
        complete, pure = pairs[0] / pairs[1], pairs[2] / pairs[3]
    print("| mag from the limit | " + " | ".join(f"{m + 0.25:+.2f}" for m in MAG_EDGES[:-1:2]) + " |")
    print("| completeness | " + " | ".join(f"{c:.3f}" for c in complete) + " |")
    print("| purity | " + " | ".join(f"{p:.3f}" for p in pure) + " |", flush=True)


def main() -> None:
    """Measure the fields named, or all."""
    for field in sys.argv[1:] or FIELDS:
        measure(field)


if __name__ == "__main__":
    main()
