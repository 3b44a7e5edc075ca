"""Completeness and over-masking against planted ghosts and halos of seeds never tuned on."""

import numpy as np
import pytest
from ghost_builders import Field, GhostsConfig, gather, science_exposures, score, stage_of

from zsds_tasks.science.masking.ghost_fit import fit_reflections

CONFIG = GhostsConfig()


@pytest.mark.parametrize("seed", [301, 305, 306])
def test_the_mask_is_complete_before_a_fit_and_tight_after_it(include, seed):
    stage = stage_of(include, "mini", seed)
    fields = [Field.of(stage, exposure, CONFIG) for exposure in science_exposures(stage, "zg")[:4]]
    stamps = gather(fields, CONFIG, np.random.default_rng(seed))
    fit = fit_reflections(stamps, CONFIG.prior, CONFIG.fit, "20251012")
    assert fit.ghosts.accepted, fit.ghosts.reason
    (before, halo_before, _), (after, halo_after, _) = (
        score(fields, model, CONFIG) for model in (CONFIG.prior, fit.model)
    )
    assert before.bright > 0
    assert before.completeness > 0.97
    assert after.completeness > 0.97
    assert after.dark_share < 0.35
    assert after.masked_share < before.masked_share / 3
    assert halo_before.completeness > 0.97
    assert halo_after.completeness > 0.97
    assert halo_before.masked == 0 or halo_before.dark_share < 0.15
    assert halo_after.dark_share < 0.05


def test_a_quadrant_with_everything_in_it_gives_the_same_model(include):
    stage = stage_of(include, "mini", 304)
    seen = {}
    for exposure in science_exposures(stage, "zg"):
        seen.setdefault(exposure.field, exposure)
    fields = [Field.of(stage, exposure, CONFIG) for exposure in list(seen.values())[:3]]
    rng = np.random.default_rng(1)
    plain, real = (gather(fields, CONFIG, rng, with_sources=s) for s in (False, True))
    two = CONFIG.fit.model_copy(update={"least_places": 2})
    ours, theirs = (fit_reflections(s, CONFIG.prior, two, "n") for s in (plain, real))
    assert ours.ghosts.accepted, ours.ghosts.reason
    assert theirs.ghosts.accepted, theirs.ghosts.reason
    assert abs(ours.model.centre_ghost - theirs.model.centre_ghost) < 5
    assert theirs.model.outer_arcsec == pytest.approx(ours.model.outer_arcsec, abs=3)
    assert theirs.model.flux_ratio == pytest.approx(ours.model.flux_ratio, rel=0.15)
