"""Candidates of full-size quadrants against planted changes, labelled as the night's score labels them.

    python tests/benchmarks/bench_alert_truth.py [near] [sky:seeing:seed ...]       default: FIELDS x SEEDS

Raw frames through our chain, a reference of four; 1,200 point sources of S/N 3 to 100 are planted, a third of
them on galaxies, two in three into the science image and one into the reference; everything else in the
frames (cosmic rays, ghosts, saturated stars, variables) is the simulator's, without asteroids and satellites.
Completeness by expected S/N (planted flux over the difference's noise, which the scatter of measured fluxes
checks) and by magnitude, the 50 % points, flux bias, pulls, places, and what candidates over 5 sigma are that
nothing gave, by kind, before and after the triggering criteria, and how many of them and of the real that
brightened pass the models in use at the thresholds of their cards. `near` plants all of them near the limit,
so that a field's half point is good to 0.05 instead of 0.15. Beside
it: detection at whole pixels, ours with no more false candidates than that, other errors of the registration.
"""
# ruff: noqa: T201 - a benchmark prints its table

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
from bench_difference_sky import EPOCHS, calibrated, on_grid, stacked, star_list

from zsds_tasks.pixels.zogy import ZogyConfig
from zsds_tasks.science.alerts.select import TriggerConfig, select_alerts
from zsds_tasks.science.candidates.detect import DetectConfig, detect
from zsds_tasks.science.candidates.measure import MeasureConfig, measure
from zsds_tasks.science.difference.align import AlignConfig, align
from zsds_tasks.science.difference.assess import AssessConfig, limiting_magnitude
from zsds_tasks.science.difference.engines import EngineConfig
from zsds_tasks.science.difference.subtract import DifferenceConfig, Side, subtract
from zsds_tasks.science.realbogus import load_models
from zsds_tasks.settings import load_settings
from zsds_tasks.simulator import score_statistics as stat
from zsds_tasks.simulator.candidate_changes import Changes, ReferenceSky, changes_of, flux_of
from zsds_tasks.simulator.candidate_reader import WIDENING, ImageTruth, natural_flux
from zsds_tasks.simulator.candidate_truth import LabelConfig
from zsds_tasks.simulator.score_candidate_samples import DifferenceFacts, DifferenceSamples
from zsds_tasks.simulator.score_candidate_verdict import curves_of, half_point, measures_of
from zsds_tasks.simulator.score_matching import PEAK_OF_FLUX, columns_of, rows_of
from zsds_tasks.simulator.truth.artefacts import defect_table
from zsds_tasks.steps.difference.configuration import DifferencingConfig
from zsds_tasks.steps.difference.neighbours import Plane, reference_neighbours
from zsds_tasks.steps.difference.rows import MEASURED
from zsds_tasks.steps.difference.scores import score
from zsds_tasks.steps.exposure.configuration import load_exposure_config

FIELDS = ("sparse:1.3", "ordinary:1.6", "rich:1.3", "crowded:1.6")
SEEDS = (941, 942, 943)
PLANTED = 1200
RANGE, NEAR = (3.0, 100.0), (3.0, 10.0)
FIRST_ID = 10**15
NEVER = 1e9  # sigma
STRENGTHS = (5, 6, 8, 12, 20, NEVER)
OTHERS = ((0.05, 0.55), (0.02, 0.0))  # px: least error of the registration, `alias_px`
FALSE_FROM = 4.3  # sigma: false candidates are counted from here on, where there are enough of them
NEAR_ARCSEC = DifferencingConfig().near_arcsec
MODELS = load_models(load_settings().include)
DEPTHS = np.array([-3.0, -2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0])


def rows_true(exposed):
    """The truth of one exposure as the labels read it."""
    rows = columns_of(exposed.detections.drop_columns(["kind"]))
    rows["kind"] = exposed.detections["kind"].to_numpy(zero_copy_only=False).astype(str)
    return rows | {"natural": natural_flux(rows)}


def planted_in(science, template, truth, seed, span):
    """Put stars into the calibrated image, or into the reference: these are gone; return them as changes."""
    rng = np.random.default_rng(seed)
    ny, nx = science.shape
    x, y = rng.uniform(20, nx - 21, PLANTED), rng.uniform(20, ny - 21, PLANTED)
    hosts = np.flatnonzero((truth["kind"] == "galaxy") & (truth["mag"] < 20.5))
    hosts = hosts[(np.abs(truth["x"][hosts] - nx / 2) < nx / 2 - 40)]
    hosts = hosts[(np.abs(truth["y"][hosts] - ny / 2) < ny / 2 - 40)]
    hosts = rng.permutation(hosts)[: PLANTED // 3]
    n = len(hosts)
    x[:n] = truth["x"][hosts] - 1 + rng.normal(0, 1.5, n)
    y[:n] = truth["y"][hosts] - 1 + rng.normal(0, 1.5, n)
    zero_point = science.zero_point.magzp
    noise = float(np.median(science.background.noise.values)) * np.sqrt(science.psf.n_eff(nx / 2, ny / 2))
    flux = noise * np.exp(rng.uniform(*np.log(span), PLANTED)) * rng.choice([1.0, 1.0, -1.0], PLANTED)
    stars = star_list(science.points, science.mask, zero_point)
    scale = align(
        stars, template.stars, (zero_point, template.zero_point), science.shape, AlignConfig()
    ).factor[0]
    uncertainty = template.uncertainty.copy()
    for px, py, f in zip(x, y, flux, strict=True):
        if f > 0:
            draw(rng, science.image, science.psf, (px, py, f), science.given.facts.gain)
        else:
            draw(rng, template.image, template.psf, (px, py, -f * scale), template.gain, uncertainty)
    ra, dec = science.solution.wcs.pixel_to_sky(x + 1, y + 1)
    on_galaxy = np.arange(PLANTED) < n
    columns = {"ra": ra, "dec": dec, "x": x + 1, "y": y + 1, "flux": flux * flux_of(zero_point)}
    columns |= {"object_id": FIRST_ID + np.arange(PLANTED), "kind": np.full(PLANTED, "transient")}
    return Changes.of(columns), on_galaxy, replace(template, uncertainty=uncertainty)


def draw(rng, image, psf, star, gain, uncertainty=None):
    """Add a star (x, y, flux) and the noise of its photons, which joins the uncertainty if there is one."""
    px, py, f = star
    i, j = round(py), round(px)
    light = f * psf.stamp(px, py, 25, (px - j, py - i)).astype(float)
    variance = np.maximum(light, 0) / gain
    light += rng.normal(0, 1, light.shape) * np.sqrt(variance)
    here = np.s_[max(i - 12, 0) : i + 13, max(j - 12, 0) : j + 13]
    inside = np.s_[: image[here].shape[0], : image[here].shape[1]]
    image[here] += light[inside].astype(np.float32)
    if uncertainty is not None:
        uncertainty[here] = np.sqrt(uncertainty[here] ** 2 + variance[inside])


def truth_of(made, planted):
    """All that is true of the last exposure against the others."""
    exposed, science = made[-1]
    rows, epochs = rows_true(exposed), [rows_true(e) for e, _ in made[:-1]]
    names = ("object_id", "kind", "ra", "dec", "mag", "natural")
    reference = ReferenceSky.of_epochs(
        {name: np.concatenate([epoch[name] for epoch in epochs]) for name in names}, len(epochs)
    )
    exposure = {
        name: getattr(exposed.exposure, name) for name in ("exptime_s", "rotation_deg", "seeing_fwhm_arcsec")
    }
    fwhm = exposure["seeing_fwhm_arcsec"] * WIDENING / science.pixel_scale_arcsec
    peak = PEAK_OF_FLUX * rows["flux_dn"] / fwhm**2
    # What was planted shines too, or is missing: its own photons are in `Changes.light`.
    extra = planted.take(planted.flux > 0)
    sources = {
        "object_id": np.concatenate([rows["object_id"], extra.object_id]),
        "kind": np.concatenate([rows["kind"], extra.kind]),
        "flux": np.concatenate([flux_of(rows["mag"]), extra.flux]),
        "saturated": np.concatenate(
            [peak > exposed.quadrant.detector.saturation, np.zeros(len(extra), bool)]
        ),
    }
    sources |= {n: np.concatenate([rows[n], getattr(extra, n)]) for n in ("ra", "dec", "x", "y")}
    config = exposed.stage.world.config.instrument.detector
    defects = columns_of(defect_table(exposed.instrument.camera, config, exposed.stage.world.seed))
    defects = rows_of(defects, defects["rcid"] == exposed.quadrant.rcid)
    changes = Changes.concatenate([changes_of(rows, reference, exposure), planted])
    passing = {"ra": reference.passing_ra, "dec": reference.passing_dec, "flux": reference.passing_flux}
    return ImageTruth(changes, sources, columns_of(exposed.artefacts), defects, passing, exposure)


def candidates_of(difference, science, limit, config):
    """Candidates with what the score reads of them."""
    peaks = detect(difference.subtraction.score, config).brighter_than(FALSE_FROM)
    arguments = (difference.zero_point, limit, MeasureConfig())
    found = measure(difference.subtraction, difference.mask, peaks, *arguments)
    rows = {name: np.asarray(found[name]) for name in MEASURED if name != "diffmaglim"}
    rows["ra"], rows["dec"] = science.solution.wcs.pixel_to_sky(rows["xpos"], rows["ypos"])
    scale = science.pixel_scale_arcsec
    rows["sigpos"] = np.hypot(np.asarray(found["sigx"]), np.asarray(found["sigy"])) / np.sqrt(2) * scale
    rows["candid"] = np.arange(len(rows["ra"]))
    rows["passed"] = np.ones(len(rows["ra"]), bool)
    table = {
        name: pa.array(rows[name]) for name in ("magpsf", "sigmapsf", "nbad", "fwhm", "elong", "magdiff")
    }
    table["rb"] = pa.nulls(len(rows["ra"]), pa.float32())
    rows["reason"] = np.array(select_alerts(pa.table(table), TriggerConfig()).reasons, dtype=str)
    return rows


def scored(rows, points, science, template, difference):
    """Scores of both models, NaN under the least S_corr; the reference's sources are those of its image."""
    wcs, zero_point = science.solution.wcs, template.zero_point
    ra, dec = wcs.pixel_to_sky(points.xpos, points.ypos)
    mag = zero_point - 2.5 * np.log10(np.maximum(points.flux, 1e-3))
    sources = {"ra": ra, "dec": dec, "mag": mag, "chi": points.chi, "sharp": points.sharp}
    sources["sigmag"] = 1.0857 * points.sigflux / np.maximum(points.flux, 1e-3)
    ny, nx = science.shape
    plane = Plane(wcs.pixel_to_sky(nx / 2, ny / 2), rows["ra"], rows["dec"])
    near = reference_neighbours(plane, pa.table(sources), NEAR_ARCSEC, science.pixel_scale_arcsec)
    table = pa.table({name: pa.array(rows[name]) for name in MEASURED if name in rows} | near)
    made = score(table, (science.image, template.image, difference.image), load_settings())
    found = {name: made.column(name).to_numpy(zero_copy_only=False).astype(float) for name in ("rb", "drb")}
    return found | {"is_positive": np.asarray(rows["isdiffpos"], bool)}


def run(field, seed, span):
    """Return samples of one field and seed, and which changes lie on galaxies."""
    sky, seeing = field.split(":")
    config = load_exposure_config(load_settings().include)
    made = [calibrated(sky, float(seeing), seed, k, config) for k in range(EPOCHS + 1)]
    exposed, science = made[-1]
    reference = stacked([chain for _, chain in made[:-1]])
    template, points, _ = on_grid(reference, science, config)
    planted, on_galaxy, template = planted_in(science, template, rows_true(exposed), seed, span)
    known = truth_of(made, planted)
    zero_point = science.zero_point.magzp
    stars = star_list(science.points, science.mask, zero_point)
    facts = science.given.facts
    new = Side(
        science.image, science.background.noise, facts.gain, science.psf, zero_point, stars, science.mask
    )
    difference = subtract(new, template, DifferenceConfig(), subject=field)
    limit = limiting_magnitude(difference.subtraction, difference.zero_point, AssessConfig())
    facts = DifferenceFacts(
        expid=0, rcid=exposed.quadrant.rcid, diffmaglim=limit, magzp=difference.zero_point, colour_mag=0.0,
        fwhm_arcsec=science.psf.fwhm * science.pixel_scale_arcsec, gain=facts.gain, shape=science.shape,
    )  # fmt: skip
    changed = ({}, {"between_pixels": False}, {"sheet_sigma": NEVER})
    every, *others = (candidates_of(difference, science, limit, DetectConfig(**values)) for values in changed)
    usable = np.isfinite(difference.subtraction.score)
    sure = ImageSamples(known, facts, usable, on_galaxy)
    made = [(least, displaced(new, template, *least)) for least in OTHERS]
    ways = [(f"floor {n} px", candidates_of(one, science, limit, DetectConfig()), 5.0) for n, one in made]
    words = compare(sure, every, *others, usable.sum() / 1e6, science.psf.fwhm)
    scores = scored(every, points, science, template, difference)
    return sure.of(every, 5.0), scores, f"{words}; {described(sure, ways)}"


def displaced(new, template, floor, alias):
    """Subtract with another least error of the registration."""
    parts = AlignConfig(sigma_floor_px=floor), EngineConfig(zogy=ZogyConfig(alias_px=alias))
    return subtract(new, template, DifferenceConfig(align=parts[0], engine=parts[1]))


@dataclass(frozen=True)
class ImageSamples:
    """What is true of one image, against candidates of it."""

    known: ImageTruth
    facts: DifferenceFacts
    usable: np.ndarray
    on_galaxy: np.ndarray

    def of(self, rows, least):
        """Return samples of the candidates that are high enough."""
        samples = DifferenceSamples()
        samples.add(rows_of(rows, rows["scorr"] >= least), self.known, self.facts, LabelConfig())
        changes, known = samples.changes[0], self.known
        row, column = (
            np.clip(np.rint(np.nan_to_num(place)) - 1, 0, n - 1).astype(int)
            for place, n in zip((known.changes.y, known.changes.x), self.usable.shape, strict=True)
        )
        mine = np.arange(len(known.changes)) >= len(known.changes) - PLANTED
        changes["judged"] &= mine & self.usable[row, column]
        changes["gone"] = known.changes.flux < 0
        changes["hosted"] = np.concatenate([np.zeros(len(mine) - PLANTED, bool), self.on_galaxy])
        return samples


def compare(sure, every, whole, sheets, megapixels, fwhm):
    """Say what other ways of detection find, and ours at a threshold with as many false candidates."""
    false, false_whole = (
        np.sort(rows["scorr"][~sure.of(rows, FALSE_FROM).all_candidates()["is_real"]])
        for rows in (every, whole)
    )
    least = 5.0 + (false[-len(false_whole)] - FALSE_FROM)
    ways = (("whole pixels", whole, 5.0), ("as many false", every, least), ("with sheets", sheets, 5.0))
    due = 2 * 0.176 / fwhm**2 * FALSE_FROM * np.exp(-(FALSE_FROM**2) / 2)
    counts = (
        f"not real over {FALSE_FROM}: {len(false) / megapixels:.1f} per megapixel, at whole pixels "
        f"{len(false_whole) / megapixels:.1f}, noise alone by theory (FWHM {fwhm:.2f} px) {1e6 * due:.1f}"
    )
    return f"{described(sure, ways)}; {counts}"


def described(sure, ways):
    """Say what ways of detection (name, candidates, threshold) find."""
    words = []
    for name, rows, threshold in ways:
        samples = sure.of(rows, threshold)
        wrong = (~samples.all_candidates()["is_real"]).sum()
        changes = rows_of(samples.all_changes(), samples.changes[0]["judged"])
        words.append(
            f"{name} from {threshold:.2f}: half at S/N {half_point(changes)[0]:.2f}, not real {wrong}"
        )
    return "; ".join(words)


def half_depth(changes):
    """The magnitude from the limit at which half are found, by interpolation."""
    bins = [((a + b) / 2, changes["found"][(changes["depth"] >= a) & (changes["depth"] < b)])
            for a, b in pairwise(DEPTHS)]  # fmt: skip
    middle, share = np.array([(place, found.mean()) for place, found in bins if len(found)]).T
    return stat.crossing(middle, share, 0.5)


def report(field, seed, samples, scores, beside):
    """Print the rows of one field and seed."""
    changes = samples.all_changes() | {name: samples.changes[0][name] for name in ("hosted", "gone")}
    curves, numbers = curves_of(samples, ""), measures_of(samples, (1, 1), "", {})
    print(f"\n## {field}, seed {seed}\n{beside}")
    found = {m.measure: (m.value, m.ok) for m in numbers}
    print("; ".join(f"{name} {value:.4g}{'' if ok else ' (missed)'}" for name, (value, ok) in found.items()))
    some = rows_of(changes, changes["judged"])
    bright = some["found"] & (some["snr"] > 20)
    place = np.concatenate([some["east"][bright], some["north"][bright]])
    half, error = half_point(some)
    places = f"; places of S/N over 20: {stat.about_zero(place):.0f} mas per axis" if bright.any() else ""
    print(f"judged {len(some['snr'])}; half of them at S/N {half:.2f} +- {error:.2f}, "
          f"{half_depth(some):+.2f} mag from the limit{places}")  # fmt: skip
    clear = some["found"] & ~some["hosted"] & (some["snr"] > STRENGTHS[2]) & (some["snr"] < STRENGTHS[4])
    expected = some["true"][clear] / some["snr"][clear]
    width = stat.width((some["flux"] - some["true"])[clear] / expected)
    print(f"expected noise: fluxes of {clear.sum()} of S/N {STRENGTHS[2]} to {STRENGTHS[4]} in blank sky "
          f"scatter by {width:.2f} of it, good to {1.17 / np.sqrt(clear.sum()):.2f}; their errors are "
          f"{np.median(some['sigflux'][clear] / expected):.2f} of it")  # fmt: skip
    parts = {"blank sky": ~some["hosted"], "on galaxies": some["hosted"], "new": ~some["gone"],
             "gone": some["gone"]}  # fmt: skip
    for name, part in parts.items():
        here = rows_of(some, part)
        sure = here["found"][here["snr"] > 6]
        ratio = here["flux"] / here["true"]
        steady = here["found"] & (here["snr"] > 20)
        words = f", half at S/N {half_point(here)[0]:.2f}"
        if steady.any():
            error = 1085.7 * 1.25 * stat.width(ratio[steady]) / np.sqrt(steady.sum())
            words += f", bias {1085.7 * np.log(np.median(ratio[steady])):+.1f} +- {error:.1f} mmag"
        print(f"  {name}: {sure.sum()} of {len(sure)} over 6 sigma{words}")
    for name in ("completeness", "depth"):
        keys = curves[name]["snr" if name == "completeness" else "mag"]
        print(f"  {name}: " + ", ".join(
            f"{k:g}: {f:.2f} of {n}" for k, f, n in
            zip(keys, curves[name]["found"], curves[name]["of"], strict=True) if f is not None))  # fmt: skip
    every = samples.all_candidates()
    bogus = ~every["is_real"]
    triggers = every["reason"] == ""
    kinds, counts = np.unique(every["kind"][bogus], return_counts=True)
    words = ", ".join(f"{k} {n} ({(bogus & triggers & (every['kind'] == k)).sum()})"
                      for k, n in sorted(zip(kinds, counts, strict=True), key=lambda x: -x[1]))  # fmt: skip
    print(f"  not real {bogus.sum()} (after the triggering criteria {(bogus & triggers).sum()}): {words}")
    real = every["is_real"]
    # What is gone was not among the reference's sources when those were measured; models are not asked.
    brighter = real & scores["is_positive"][every["candid"]]
    for name, model in zip(("rb", "drb"), (MODELS.features, MODELS.images), strict=True):
        if model is None:
            continue
        passes = scores[name][every["candid"]] >= model.card.threshold
        left, counts = np.unique(every["kind"][bogus & passes], return_counts=True)
        words = ", ".join(f"{k} {n}" for k, n in zip(left, counts, strict=True)) or "none"
        shares = ", ".join(
            f"S/N {low:g} to {high:g} {passes[here].mean():.3f} of {here.sum()}"
            for low, high in pairwise(STRENGTHS)
            if (here := brighter & (every["snr"] >= low) & (every["snr"] < high)).any()
        )
        print(f"  {model.card.version} over {model.card.threshold}: not real {(bogus & passes).sum()} "
              f"(after the triggering criteria {(bogus & passes & triggers).sum()}): {words}; "
              f"of the real that brightened {passes[brighter].mean():.3f} "
              f"({passes[brighter & triggers].mean():.3f}): {shares}")  # fmt: skip
    lost, many = np.unique(every["reason"][real & ~triggers], return_counts=True)
    words = ", ".join(f"{r} {n}" for r, n in zip(lost, many, strict=True))
    print(f"  real {real.sum()}, of which the triggering criteria refuse {(real & ~triggers).sum()}: {words}",
          flush=True)  # fmt: skip


def main():
    """Measure the fields named, or all."""
    span = NEAR if "near" in sys.argv else RANGE
    words = [word for word in sys.argv[1:] if word != "near"]
    for word in words or [f"{field}:{seed}" for seed in SEEDS for field in FIELDS]:
        field, seed = word.rsplit(":", 1)
        report(field, int(seed), *run(field, int(seed), span))


if __name__ == "__main__":
    main()
