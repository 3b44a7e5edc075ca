"""Measure linearity, shutter, LED flats and star flats: how fast, and how near to what was planted.

    python tests/benchmarks/bench_calibration_maps.py speed [camera]
    python tests/benchmarks/bench_calibration_maps.py quality SEED ...

Speed is core seconds on seeded frames of the camera's own quadrant, with peers doing the same sums. Quality
simulates the flats and biases of a night of the mini camera, builds its masters and maps, gives the science
exposures of the same world a true star catalogue with noise instead of pixels, and scores everything.
"""

import datetime as dt
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import numpy as np  # noqa: E402 - the path comes first
import pyarrow as pa  # noqa: E402 - as above
from astropy.stats import sigma_clip  # noqa: E402 - as above
from science_rows import Shot  # noqa: E402 - as above
from scipy.optimize import least_squares  # noqa: E402 - as above
from star_rows import measure  # noqa: E402 - as above

from zsds_tasks.lakehouse import open_lakehouse  # noqa: E402 - as above
from zsds_tasks.pixels.mesh import Mesh  # noqa: E402 - as above
from zsds_tasks.science.calibration.lampcells import (  # noqa: E402 - as above
    LampCells,
    LampConfig,
    cell_centres,
    cell_means,
    measure_lamps,
)
from zsds_tasks.science.calibration.masters import ChannelFacts, Readout  # noqa: E402 - as above
from zsds_tasks.science.calibration.overscan import OverscanConfig  # noqa: E402 - as above
from zsds_tasks.science.calibration.ramps import ChannelRamp, RampConfig, fit_ramps  # noqa: E402 - as above
from zsds_tasks.science.calibration.starflat import StarFlatConfig, fit_star_flat  # noqa: E402 - as above
from zsds_tasks.science.calibration.starresiduals import StarResiduals  # noqa: E402 - as above
from zsds_tasks.settings import REPOSITORY, Settings  # noqa: E402 - as above
from zsds_tasks.simulator.instrument.optics import quadrant_origin  # noqa: E402 - as above
from zsds_tasks.simulator.night import simulate_night  # noqa: E402 - as above
from zsds_tasks.simulator.production import Recipe, set_stage  # noqa: E402 - as above
from zsds_tasks.simulator.score_calibration import score_calibration  # noqa: E402 - as above
from zsds_tasks.simulator.score_maps import planted_response  # noqa: E402 - as above
from zsds_tasks.simulator.truth.tables import detection_table  # noqa: E402 - as above
from zsds_tasks.steps.calibration import (  # noqa: E402 - as above
    build_lamp_maps,
    build_masters,
    build_star_flats,
    propose_led_weights,
    read_master,
)
from zsds_tasks.steps.incoming import IncomingConfig  # noqa: E402 - as above
from zsds_tasks.steps.raw import RawConfig, ingest  # noqa: E402 - as above
from zsds_tasks.survey.camera import load_camera  # noqa: E402 - as above
from zsds_tasks.survey.nights import ObservingNight  # noqa: E402 - as above

NIGHT = ObservingNight(dt.date(2025, 10, 14))
AFTER = dt.datetime(2025, 10, 16, tzinfo=dt.UTC)
SCIENCE = 40


def clocked(function, repeats=3):
    """Return the result and the median of the core seconds of some calls."""
    spent = []
    for _ in range(repeats):
        core = time.process_time()
        result = function()
        spent.append(time.process_time() - core)
    return result, statistics.median(spent)


def say(what, core, note=""):
    sys.stdout.write(f"| {what} | {core:.3f} | {note} |\n")
    sys.stdout.flush()


def ramp_of(u0, rng):
    """Flats of one channel of ZTF's size, in cells: 11 LEDs at two times, one of them twice."""
    v, u = np.meshgrid(np.linspace(-0.1, 0.1, 25), u0 + np.linspace(-0.1, 0.1, 24), indexing="ij")
    mean, led, exptime = [], [], []
    for lamp in (2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13):
        strength = 2500 * rng.uniform(0.85, 1.15) * (1 - 0.05 * (u * u + v * v))
        for t in (10.0, 10.0, 2.5):
            light = strength * (t + 0.008 + 0.006 * v)
            mean.append(light * (1 + 2e-5 * rng.normal(size=v.shape)))
            led.append(lamp)
            exptime.append(t)
    cells = LampCells(
        tuple(map(str, range(33))), np.array(led), np.array(exptime), np.array(mean), 2e-5 * np.array(mean)
    )
    return ChannelRamp(cells, u, v, (0.0, 0.0))


def peer_fit(ramp):
    """scipy's least_squares on one channel: two terms of a curve and three of dt, lamps taken out."""
    cells, flat = ramp.cells, ramp.cells.mean.reshape(33, -1)
    lamps, which = np.unique(cells.led, return_inverse=True)
    u, v = ramp.u.ravel(), ramp.v.ravel()
    log = np.log(flat)

    def residual(p):
        x = flat / 3e4
        y = (
            log
            - np.log1p((p[0] * x + p[1]) * x)
            - np.log(cells.exptime[:, None] + p[2] + p[3] * u + p[4] * v)
        )
        means = np.stack([y[which == k].mean(axis=0) for k in range(len(lamps))])
        return ((y - means[which]) / 2e-5).ravel()

    return least_squares(residual, np.zeros(5), method="lm", x_scale=[1e-2, 1e-2, 1e-2, 1e-2, 1e-2])


def sigma_clipped(image, cell):
    ny, nx = (n // cell for n in image.shape)
    blocks = image[: ny * cell, : nx * cell].reshape(ny, cell, nx, cell).swapaxes(1, 2).reshape(ny, nx, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.nanmean(sigma_clip(blocks, 5, maxiters=1, stdfunc="mad_std", axis=2, masked=False), axis=2)


def speed(camera="ztf"):
    shape = load_camera(camera, REPOSITORY / "include").quadrant
    rng = np.random.default_rng(1)
    image = 26800 + 65 * rng.standard_normal((shape.ny, shape.nx), dtype=np.float32)
    strip = 1800 + 1.6 * rng.standard_normal((shape.ny, shape.overscan), dtype=np.float32)
    flat = Readout("1", np.rint(image).astype(np.uint16), np.rint(strip).astype(np.uint16), 7)
    bias, facts = np.zeros_like(image), ChannelFacts(1, 6.2, 58000.0, (0.0, 0.0))
    sys.stdout.write(f"camera {camera}: {shape.nx} x {shape.ny} pixels, one thread, medians of three\n")
    sys.stdout.write("| what | core-s | note |\n|---|---|---|\n")
    _, core = clocked(lambda: measure_lamps([(flat, 10.0)], facts, bias, OverscanConfig(), LampConfig()))
    say("one flat in cells, overscan and bias included", core)
    (ours, _), core = clocked(lambda: cell_means(image, 128, 5.0))
    say("clipped means of cells alone", core)
    theirs, core = clocked(lambda: sigma_clipped(image, 128))
    ny, nx = theirs.shape
    say(
        "peer: astropy sigma_clip, the same cells",
        core,
        f"differ by {np.abs(ours[:ny, :nx] - theirs).max():.2g} DN",
    )
    ramps = {k: ramp_of(0.1 * (k % 8), rng) for k in range(64)}
    fit, core = clocked(lambda: fit_ramps(ramps, RampConfig()), 1)
    say(
        "joint fit of 64 channels, 11 lamps, jackknife",
        core,
        f"dt at the middle {1e3 * fit.coefficients[0]:.2f} ms",
    )
    found, core = clocked(lambda: peer_fit(ramps[0]), 1)
    say("peer: scipy least_squares, one channel, no errors", core, f"dt {1e3 * found.x[2]:.2f} ms")
    for count in (3000, 100_000):
        x, y = rng.uniform(0, shape.nx - 1, count), rng.uniform(0, shape.ny - 1, count)
        r = 0.02 * rng.standard_normal(count)
        stars = StarResiduals(x, y, r, np.full(count, 0.02), rng.integers(0, 50, count), r)
        _, core = clocked(lambda s=stars: fit_star_flat(s, (shape.ny, shape.nx), StarFlatConfig()))
        say(f"star flat of {count} measurements, with its two halves", core)


def quality(seeds):
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(var=Path(folder), workers=1, camera="mini")
            settings.incoming_folder.mkdir(parents=True)
            simulate_night(settings, NIGHT, seed, exposures=2, faults=False, workers=1)
            lakehouse = open_lakehouse(settings)
            ingest(lakehouse, settings, AFTER, config=RawConfig(incoming=IncomingConfig(settle_s=0.0)))
            later = AFTER + dt.timedelta(hours=1)
            for step in (build_masters, build_lamp_maps):
                say(f"seed {seed}: {step.__name__}", *spent(step, lakehouse, settings, later))
            observe(lakehouse, settings, seed)
            say(f"seed {seed}: build_star_flats", *spent(build_star_flats, lakehouse, settings, later))
            report(lakehouse, settings, seed)


def spent(step, lakehouse, settings, now):
    summary, core = clocked(lambda: step(lakehouse, settings, str(NIGHT), now), 1)
    return core, f"{summary.built} built, {len(summary.refused)} refused {'; '.join(summary.refused[:2])}"


def observe(lakehouse, settings, seed):
    """Give the night's science exposures sources: true places and light, through what the masters leave."""
    stage = set_stage(Recipe(settings.include, "mini", seed, NIGHT, SCIENCE))
    camera, left = stage.instrument.camera, {}
    rows = lakehouse.table("master_frames").read(where={"kind": "hifreqflat", "accepted": True}).to_pylist()
    for row in rows:
        quadrant = camera.quadrants[row["rcid"]]
        left[row["rcid"], row["fid"]] = left_over(stage.instrument, quadrant, read_master(lakehouse, row))
    images, sources = [], []
    for exposure in stage.night.exposures:
        if exposure.imgtypecode != "o":
            continue
        shot = Shot.of_exposure(NIGHT, exposure)
        for ccdid in camera.ccdids:
            found = detection_table(camera, stage.instrument.optics, stage.night.scene(exposure, ccdid))
            kind = found["kind"].to_numpy(zero_copy_only=False)
            found = found.filter(pa.array(np.isin(kind, ["star", "variable"])))
            for quadrant in camera.quadrants_of(ccdid):
                mine = found.filter(pa.array(found["rcid"].to_numpy() == quadrant.rcid))
                stars = {n: mine[n].to_numpy() for n in ("x", "y", "ra", "dec", "flux_dn")}
                response = left[quadrant.rcid, shot.fid].at
                image, measured = measure(camera, quadrant, shot, stars, response, seed=seed)
                images.append(image)
                sources.append(measured)
    lakehouse.table("science_images").merge(images)
    lakehouse.table("sources").merge(pa.concat_tables(sources))


def left_over(instrument, quadrant, flat):
    """What a master flat leaves of the planted response, in cells of 16 px."""
    shape = flat.shape
    x, y = cell_centres(shape, 16)
    x0, y0 = quadrant_origin(instrument.camera, quadrant.qid)
    pixels = instrument.ccd(quadrant.ccdid).response[y0 : y0 + shape[0], x0 : x0 + shape[1]]
    taken = cell_means((flat / np.maximum(pixels, 0.01)).astype(np.float32), 16, 5.0)[0]
    return Mesh((planted_response(instrument, quadrant, x, y) / taken).astype(np.float32), 16, shape)


def report(lakehouse, settings, seed):
    wanted = ("linearity", "shutter", "star flat")
    for m in score_calibration(lakehouse, settings.truth_folder, NIGHT):
        if m.measure.startswith(wanted):
            sys.stdout.write(f"seed {seed}: {m.measure} {m.value} (target {m.target}): {m.sentence}\n")
    rows = lakehouse.table("master_frames").read(where={"kind": "starflat"}).to_pylist()
    for fid in (1, 2, 3):
        mine = [r for r in rows if r["fid"] == fid and r["accepted"]]
        if mine:
            before, after, noise, stars = (
                np.median([r[k] for r in mine]) for k in ("rms_before", "rms_after", "noise", "n_stars")
            )
            sys.stdout.write(
                f"seed {seed}: filter {fid}: zones {1e3 * before:.1f} -> {1e3 * after:.1f} mmag, "
                f"claimed error {1086 * noise:.1f} mmag, {stars:.0f} measurements a channel\n"
            )
    for row in propose_led_weights(lakehouse, settings, str(NIGHT)).table():
        sys.stdout.write(f"seed {seed}: {row[0]} {row[1]}: {100 * row[2]:.2f} %\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["quality"]:
        quality([int(word) for word in sys.argv[2:]])
    else:
        speed(*sys.argv[2:3])
