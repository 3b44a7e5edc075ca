"""The score of light curves: met by good ones; stars split, merged or lost are seen as such."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from science_rows import Errors, invented_truth, observed

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.score_curves import assess_curves, with_curves
from zsds_tasks.steps.lightcurves import update_lightcurves
from zsds_tasks.survey.nights import ObservingNight

NIGHT = ObservingNight.parse("20251012")
VISITS, CHANNELS = 5, (2, 5)


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    settings = Settings(var=tmp_path_factory.mktemp("truth"), camera="mini", workers=1)
    return settings, *invented_truth(settings, NIGHT, visits=VISITS, count=500)


@pytest.fixture(scope="module")
def lake(sky, tmp_path_factory):
    settings, shots, truths = sky
    here = settings.model_copy(update={"var": tmp_path_factory.mktemp("lake")})
    lakehouse = open_lakehouse(here)
    skip = {(shot.expid, rcid) for shot in shots for rcid in range(8) if rcid not in CHANNELS}
    for name, table in observed(settings, shots, truths, Errors(), skip=skip, seed=4).items():
        lakehouse.table(name).merge(table)
    update_lightcurves(lakehouse, here)
    return lakehouse


@pytest.fixture
def scored(sky, lake):
    """Return a function that scores the light curves, the objectids of some epochs changed."""

    def run(change=None):
        table, version = lake.table("epochs"), lake.table("epochs").version()
        if change:
            rows = table.read()
            place = rows.schema.get_field_index("objectid")
            changed = change(rows["objectid"].to_numpy().copy(), rows)
            table.merge(rows.set_column(place, rows.schema.field(place), pa.array(changed)))
        try:
            return {m.measure: m for m in assess_curves(lake, sky[0].truth_folder, NIGHT)}
        finally:
            if change:
                table.merge(table.read(version=version))

    return run


def test_good_light_curves_meet_the_association_targets(scored):
    found = scored()
    assert found["split or merged stars"].value == 0
    assert found["stars without a light curve"].value == 0
    assert found["split or merged stars"].ok
    assert found["repeatability of light curves, mmag"].value < 12
    assert found["light-curve pull width"].value == pytest.approx(1, abs=0.08)


def test_epochs_given_to_another_star_split_it(scored):
    def change(objectid, rows):
        busy, counts = np.unique(objectid, return_counts=True)
        chosen = np.isin(objectid, busy[counts >= VISITS - 1][::5])
        exposure = np.unique(rows["mjd"].to_numpy().round(5), return_inverse=True)[1]
        objectid[chosen & (exposure < exposure.max() // 2)] += 3_000_000
        return objectid

    found = scored(change)
    assert not found["split or merged stars"].ok
    assert int(found["split or merged stars"].sentence.split()[0]) > 10


def test_stars_of_one_name_are_merged(scored):
    def change(objectid, rows):
        units = objectid // 10**8
        for unit in np.unique(units)[:4]:
            names = np.unique(objectid[units == unit])[:60]
            for keep, lose in zip(names[::2], names[1::2], strict=True):
                objectid[objectid == lose] = keep
        return objectid

    found = scored(change)
    assert not found["split or merged stars"].ok
    assert int(found["split or merged stars"].sentence.split(", ")[1].split()[0]) > 10


def test_nights_without_light_curves_or_truth_say_nothing(sky, lake, tmp_path):
    empty = open_lakehouse(Settings(var=tmp_path, camera="mini"))
    assert assess_curves(empty, sky[0].truth_folder, NIGHT) == []
    assert assess_curves(lake, tmp_path, NIGHT) == []


def test_measures_go_behind_those_of_the_report(scored):
    measures = list(scored().values())
    report = with_curves({"sentence": "All is well.", "measures": [{"measure": "files"}]}, measures)
    assert [m["measure"] for m in report["measures"]][:2] == ["files", measures[0].measure]
    assert report["sentence"] == "All is well."
