"""Score ghost and halo masks against planted light, before and after a fit; print rows of docs/benchmarks.md.

    python tests/benchmarks/bench_ghosts.py [camera] [filter] [seed ...]

A model is fitted to the cut-outs of every second exposure (sky, ghosts and halos with noise; for the mini
camera with everything the sky and the detector do) and scored on the others, with the prior and with the fit.
Complete: share of pixels with planted light over 1 sigma of sky that carry the bit. Dark: share of masked
pixels without any.
"""

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "science")]

import numpy as np  # noqa: E402 - the path comes first
from ghost_builders import (  # noqa: E402 - as above
    Field,
    GhostsConfig,
    gather,
    science_exposures,
    score,
    stage_of,
)

from zsds_tasks.science.masking.ghost_fit import fit_reflections  # noqa: E402 - as above
from zsds_tasks.science.masking.ghost_geometry import find_frame, plate_map  # noqa: E402 - as above
from zsds_tasks.science.masking.ghost_stamps import collect_stamps  # noqa: E402 - as above
from zsds_tasks.settings import REPOSITORY  # noqa: E402 - as above

SEEDS = (301, 305, 306)
EXPOSURES = {"mini": 16, "ztf": 6}
CONFIG = GhostsConfig()
PRIOR = CONFIG.prior


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def share(part):
    return f"{part:.2%}"


def bench(camera, filtercode, seed):
    """Fit on some exposures of a seed, score on the others; print two rows."""
    stage = stage_of(REPOSITORY / "include", camera, seed)
    shots = science_exposures(stage, filtercode)[: EXPOSURES[camera]]
    fields = [Field.of(stage, shot, CONFIG) for shot in shots[::2]]
    stamps = gather(fields, CONFIG, np.random.default_rng(seed), with_sources=camera == "mini")
    core = time.process_time()
    fit = fit_reflections(stamps, PRIOR, CONFIG.fit, "fit")
    core = time.process_time() - core
    later = [Field.of(stage, shot, CONFIG) for shot in shots[1::2]]
    for model in (PRIOR, fit.model):
        ghost, halo, seconds = score(later, model, CONFIG)
        ms = np.array(seconds) * 1e3
        say(
            f"| {camera} {filtercode} {seed} | {'prior' if model is PRIOR else 'fitted'} "
            f"| {share(ghost.completeness)} of {ghost.bright} | {share(ghost.dark_share)} "
            f"| {share(ghost.masked_share)} | {share(halo.completeness)} of {halo.bright} "
            f"| {share(halo.dark_share)} | {share(halo.masked_share)} "
            f"| {np.median(ms):.1f}, {ms.max():.0f} |"
        )
    ring, halo = fit.ring, fit.halo
    say(
        f"    fit of {len(stamps)} cut-outs in {core:.1f} core-s: ghosts {fit.ghosts.accepted} "
        f"{fit.ghosts.reason} ({fit.n_ghosts} of {fit.n_places} places), "
        f"halos {fit.halos.accepted} {fit.halos.reason}; centre "
        f"{fit.model.centre_ghost:.1f}, scale {fit.model.scale:.4f}, scatter {fit.model.scatter_arcsec:.1f}; "
        + (f"radii {ring.outer:.1f}, {ring.inner:.1f}, ratio {ring.flux_ratio:.2e}" if ring else "no ring")
        + (f"; halo {halo.radius_arcsec:.1f}, {halo.flux_ratio:.2e}" if halo else "")
    )
    return later


def speed(field):
    """Print what a quadrant costs: the frame, and the cut-outs of one that has some."""
    wcs, shape = field.wcs(0), (field.camera.quadrant.ny, field.camera.quadrant.nx)
    find_frame(wcs, field.camera, 0)
    core = time.process_time()
    for _ in range(20):
        plate_map(wcs, shape, find_frame(wcs, field.camera, 0))
    say(f"    frame and map of a quadrant: {(time.process_time() - core) / 20 * 1e3:.1f} core-ms")
    blank, mask = np.zeros(shape, np.float32), np.zeros(shape, np.uint16)
    costs = []
    for rcid in range(field.camera.n_quadrants):
        facts = (field.plate(rcid), field.stars, field.zero_point(rcid), field.sky_noise(rcid))
        core = time.process_time()
        found = collect_stamps(blank, mask, None, *facts, PRIOR, CONFIG.stamps)
        costs.append((time.process_time() - core, len(found)))
    busy = [c for c, n in costs if n] or [0.0]
    idle = [c for c, n in costs if not n] or [0.0]
    say(
        f"    cut-outs: {np.mean(busy) * 1e3:.0f} core-ms on {len(busy)} quadrants with any "
        f"({sum(n for _, n in costs)} of them), {np.mean(idle) * 1e3:.1f} on the others"
    )


def main(camera="mini", filtercode="zg", *seeds):
    say("| exposures | model | ghosts complete | dark | of plane | halos complete | dark | of plane | ms |")
    say("|---|---|---|---|---|---|---|---|---|")
    later = []
    for seed in [int(s) for s in seeds] or SEEDS:
        later = bench(camera, filtercode, seed)
    speed(later[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
