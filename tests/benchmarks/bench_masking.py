"""Score every mask bit but ghosts and halos against planted truth; print rows of docs/benchmarks.md.

    python tests/benchmarks/bench_masking.py [bits] [curve] [free] [seed ...]

bits: full-size channels end to end: masters from simulated biases and flats, bleeds, cosmic rays, tracks.
curve: tracks drawn into those images, completeness by the height of their profile over the noise.
free: images without a track, how many false ones. All three by default. The peer astroscrappy is measured
where it can be imported (a venv of its own: PYTHONPATH=.../site-packages).
"""

import importlib
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "science")]

import numpy as np  # noqa: E402 - the path comes first
from masking_builders import (  # noqa: E402 - as above
    DEFECT_BITS,
    SQUARE,
    Streak,
    along,
    calibrate,
    draw_track,
    full_wells,
    grown,
    masters_of,
    planted_counts,
    random_chord,
    smooth_mesh,
    with_trails,
)
from scipy import ndimage  # noqa: E402 - as above

from zsds_tasks.products.masks import UNUSABLE, MaskBit  # noqa: E402 - as above
from zsds_tasks.science.calibration.overscan import OverscanConfig, fit_overscan  # noqa: E402 - as above
from zsds_tasks.science.calibration.reduce import ReduceConfig, reduce_quadrant, uncertainty  # noqa: E402
from zsds_tasks.science.masking.saturation import SaturationConfig, mask_saturation  # noqa: E402 - as above
from zsds_tasks.science.masking.spikes import SpikeMaskConfig, mask_spikes  # noqa: E402 - as above
from zsds_tasks.science.masking.tracks import TrackConfig, mask_tracks  # noqa: E402 - as above
from zsds_tasks.settings import REPOSITORY  # noqa: E402 - as above
from zsds_tasks.simulator.testbed import SKIES, expose_quadrant  # noqa: E402 - as above

INCLUDE = REPOSITORY / "include"
CASES = (("sparse", 1.2), ("ordinary", 1.5), ("crowded", 2.0), ("ordinary", 3.0), ("crowded", 1.2))
SEEDS = (301, 302, 303, 304, 305)
PEAKS = (0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 100.0)
TRIALS = 12
FREE = 21
SPIKE, TRACK, FULL = MaskBit.SPIKE.flag, MaskBit.TRACK.flag, MaskBit.SATURATED.flag


def say(*cells):
    sys.stdout.write("| " + " | ".join(str(cell) for cell in cells) + " |\n")
    sys.stdout.flush()


def clocked(function, times=1):
    """Return the last result and the median of core seconds."""
    spent = []
    for _ in range(times):
        start = time.process_time()
        result = function()
        spent.append(time.process_time() - start)
    return result, float(np.median(spent))


def run_chain(c):
    """Mask a calibrated channel in place; return the stage's results and core seconds."""
    level = c.stats.saturation_level
    bleeds, t_bleeds = clocked(
        lambda: mask_saturation(c.image, c.mask, c.noise, c.facts.gain, level, SaturationConfig())
    )
    before = c.mask.copy()
    spikes, t_spikes = clocked(lambda: mask_spikes(c.image, c.mask, c.noise, c.facts.gain, SpikeMaskConfig()))
    tracks, t_tracks = clocked(lambda: mask_tracks(c.image, c.mask, c.noise, spikes.fwhm, TrackConfig()))
    return before, spikes, tracks, {"bleeds": t_bleeds, "spikes": t_spikes, "tracks": t_tracks}, bleeds


def ratio(part, whole):
    return f"{part / whole:.4f} ({part}/{whole})" if whole else f"none of {whole}"


def score_static(q, mask):
    names = {"dead": ["dead"], "low": ["low", "blocked column"], "high": ["high"], "hot": ["hot"]}
    for name, kinds in names.items():
        planted = np.logical_or.reduce([q.defects[kind] for kind in kinds])
        bit = DEFECT_BITS[name]
        marked = (mask & bit.flag) > 0
        # A blocked column of little response is dead as well as low; low ones are planted only where single.
        other = np.logical_or.reduce(list(q.defects.values()))
        wanted = q.defects["low"] if name == "low" else planted
        say(
            f"{name} (bit {int(bit)})",
            ratio(np.count_nonzero(marked & wanted), np.count_nonzero(wanted)),
            ratio(np.count_nonzero(marked & other), np.count_nonzero(marked)),
            "",
        )


def score_spikes(q, counts, before, marked, name, note=""):
    """Print completeness by pixel and event, purity, and hits of stars; `before` has the other bits."""
    usable = (before & UNUSABLE) == 0
    planted = (counts > 0) & usable
    groups, n = ndimage.label(planted, SQUARE)
    charge = ndimage.sum_labels(counts, groups, np.arange(1, n + 1)) * q.quadrant.detector.gain
    hit = ndimage.maximum(marked, groups, np.arange(1, n + 1)) > 0 if n else np.zeros(0, bool)
    x, y = (np.rint(q.detections[axis].to_numpy()).astype(int) - 1 for axis in "xy")
    ny, nx = marked.shape
    bright = q.detections["flux_dn"].to_numpy() > 150
    inside = bright & (x > 0) & (y > 0) & (x < nx - 1) & (y < ny - 1)
    clean = inside.copy()
    clean[inside] = ~grown(counts > 0, 3)[y[inside], x[inside]]
    cores = grown(marked)[y[clean], x[clean]]
    by_charge = ", ".join(
        f"{np.count_nonzero(hit & is_in)}/{np.count_nonzero(is_in)} {label}"
        for label, is_in in (
            ("under 1500 e-", charge < 1500),
            ("to 4000", (charge >= 1500) & (charge < 4000)),
            ("above", charge >= 4000),
        )
    )
    say(
        name,
        ratio(np.count_nonzero(marked & planted), np.count_nonzero(planted)),
        ratio(np.count_nonzero(marked & grown(counts > 0)), np.count_nonzero(marked)),
        f"events {hit.sum()}/{n}: {by_charge}; star cores hit {cores.sum()}/{clean.sum()}{note}",
    )


def peer_spikes(q, c, counts, before, fwhm):
    try:
        astroscrappy = importlib.import_module("astroscrappy")
    except ImportError:
        say("astroscrappy", "peer not installed", "", "")
        return
    sky = c.sigma**2 * c.facts.gain - (q.quadrant.detector.read_noise**2 / c.facts.gain)
    image = np.nan_to_num(c.image) + np.float32(sky)
    common = {"inmask": (before & UNUSABLE) > 0, "gain": c.facts.gain, "psffwhm": fwhm, "sigclip": 6.0}
    common |= {"readnoise": q.quadrant.detector.read_noise, "satlevel": 5e4, "objlim": 5.0}
    for mode in ("median", "convolve"):
        (marked, _), spent = clocked(lambda m=mode: astroscrappy.detect_cosmics(image, fsmode=m, **common))
        marked &= (before & UNUSABLE) == 0
        score_spikes(q, counts, before, marked, f"astroscrappy {mode}", f"; {spent:.2f} core-s")


def score_case(seed, sky, seeing):
    what = {"seed": seed, "place": SKIES[sky], "rcid": seed * 7 % 64, "seeing_arcsec": seeing}
    q, counts = planted_counts(INCLUDE, "cosmic_rays", without=("satellites",), **what)
    ny, nx = q.raw.shape
    rng = np.random.default_rng(seed)
    masters = masters_of(q)
    free = calibrate(q, masters=masters)
    streaks = [
        Streak((-500.0, rng.uniform(0, ny), nx + 500.0, rng.uniform(0, ny)), 3.0, 1.0),
        Streak((rng.uniform(0, nx), -500.0, rng.uniform(0, nx), ny + 500.0), 30.0, 2.5, 0.6, 400.0),
    ]
    raw, _ = with_trails(q, streaks, free.sigma)
    c = calibrate(q, raw, masters)
    sys.stdout.write(f"\nseed {seed}, {sky}, seeing {seeing} arcsec, {len(q.detections)} sources\n")
    say("bit", "completeness", "purity", "note")
    score_static(q, c.mask)
    before, spikes, tracks, spent, bleeds = run_chain(c)
    full, truth = (c.mask & FULL) > 0, full_wells(q)
    true = grown(truth | (q.raw >= q.quadrant.detector.saturation))
    say(
        "saturated (bit 8)",
        ratio(np.count_nonzero(full & truth), np.count_nonzero(truth)),
        ratio(np.count_nonzero(full & true), np.count_nonzero(full)),
        f"{bleeds.saturated} px raw, {bleeds.followed} followed, {bleeds.masked} grown",
    )
    score_spikes(q, counts, before, (c.mask & SPIKE) > 0, "spike (bit 7)")
    peer_spikes(q, c, counts, before, spikes.fwhm)
    marked = (c.mask & TRACK) > 0
    area = [along(c.image.shape, s.ends, spikes.fwhm) for s in streaks]
    wide = [
        along(c.image.shape, s.ends, t.width / 2 + 1) for s, t in zip(streaks[::-1], tracks, strict=False)
    ]
    say(
        "track (bit 0)",
        ratio(np.count_nonzero(marked & (area[0] | area[1])), np.count_nonzero(area[0] | area[1])),
        ratio(np.count_nonzero(marked & np.logical_or.reduce([*wide, *area])), np.count_nonzero(marked)),
        f"{len(tracks)} of 2 tracks; widths {', '.join(f'{t.width:.1f}' for t in tracks)} px",
    )
    say(
        "core-s",
        ", ".join(f"{k} {v:.3f}" for k, v in spent.items()),
        f"reduce {clock_reduce(q, masters):.3f}",
        "tracks with two of them in the image",
    )
    return free, spikes.fwhm


def clock_reduce(q, masters):
    level = fit_overscan(q.overscan, q.quadrant.amplifier.read_x, OverscanConfig()).level
    image, mask = np.zeros(q.raw.shape, np.float32), np.zeros(q.raw.shape, np.uint16)
    smooth, facts = smooth_mesh(q.smooth, 256), calibrate(q, masters=masters).facts
    _, spent = clocked(
        lambda: reduce_quadrant(
            q.raw,
            level,
            facts,
            bias=masters[0],
            flat=masters[1],
            smooth=smooth,
            static_mask=masters[2],
            out_image=image,
            out_mask=mask,
            config=ReduceConfig(),
        ),
        5,
    )
    return spent


def score_curve(label, c, fwhm, seed):
    rng = np.random.default_rng(seed)
    for peak in PEAKS:
        found, masked, planted, over = 0, 0, 0, 0
        for _ in range(TRIALS):
            width = rng.choice([0.0, 2.0, 8.0])
            one, area = draw_track(c, random_chord(rng, c.image.shape), peak, fwhm, width, rng)
            tracks = mask_tracks(one.image, one.mask, one.noise, fwhm, TrackConfig())
            marked = (one.mask & TRACK) > 0
            found += len(tracks) == 1
            masked, planted = masked + np.count_nonzero(marked & area), planted + np.count_nonzero(area)
            over += np.count_nonzero(marked & ~area)
        say(label, peak, f"{found}/{TRIALS}", ratio(masked, planted), f"{over / TRIALS:.0f} px")


def score_free(first_seed):
    """Count tracks in images that have none; every third is crowded."""
    false, spent = 0, []
    for k in range(FREE):
        sky, seeing = ("sparse", "ordinary", "crowded")[k % 3], (1.2, 1.5, 2.0, 3.0)[k % 4]
        what = {"seed": first_seed + k, "place": SKIES[sky], "rcid": k * 11 % 64, "seeing_arcsec": seeing}
        c = calibrate(expose_quadrant(INCLUDE, without=("satellites",), **what))
        _, _, tracks, seconds, _ = run_chain(c)
        false += len(tracks)
        spent.append(seconds["tracks"])
        out, map_time = clocked(
            lambda c=c: uncertainty(c.image, c.mask, c.noise, c.facts.gain, np.empty_like(c.image))
        )
        del out
    say("images without a track", FREE, f"false tracks {false}", f"median {np.median(spent):.3f} core-s")
    say("uncertainty map, buffer made anew", f"{map_time:.3f} core-s", "", "")


def main(*words):
    seeds = [int(word) for word in words if word.isdigit()] or SEEDS
    parts = [word for word in words if not word.isdigit()] or ["bits", "curve", "free"]
    warm = calibrate(expose_quadrant(INCLUDE, camera="mini", seed=1, without=("asteroids",)))
    run_chain(warm)
    if "bits" in parts or "curve" in parts:
        cases = [(seed, *CASES[k % len(CASES)]) for k, seed in enumerate(seeds)]
        images = [(case, *score_case(*case)) for case in cases]
        if "curve" in parts:
            sys.stdout.write("\n")
            say("image", "peak, sigmas", "found", "area masked", "masked beside it, mean")
            for (seed, sky, seeing), c, fwhm in images[:3]:
                run_chain(c)
                score_curve(f"{sky} {seeing} arcsec", c, fwhm, seed)
    if "free" in parts:
        score_free(max(seeds) + 100)


if __name__ == "__main__":
    main(*sys.argv[1:])
