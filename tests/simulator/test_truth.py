"""Truth tables: complete, consistent with the scene and the optics, whole on disk."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scene_builders import NIGHT, make_night, make_world, science

from zsds_tasks.errors import NothingToDoError, TransientError
from zsds_tasks.simulator.instrument.instrument import Instrument
from zsds_tasks.simulator.sky.identities import Family, family_of
from zsds_tasks.simulator.truth.objects import OBJECT_SCHEMA, night_objects
from zsds_tasks.simulator.truth.tables import (
    DETECTION_LIMIT_MAG,
    EXPOSURE_SCHEMA,
    QUADRANT_SCHEMA,
    detection_table,
    exposure_table,
    quadrant_table,
    read_truth,
    truth_path,
    write_truth,
)


@pytest.fixture(scope="module")
def night():
    return make_night()


@pytest.fixture(scope="module")
def instrument():
    world = make_world()
    return Instrument(world.site.camera, world.config.instrument, world.config.effects, world.seed)


@pytest.fixture(scope="module")
def objects(night):
    return night_objects(night)


@pytest.fixture(scope="module")
def detections(night, instrument):
    exposure = science(night)[3]
    return detection_table(instrument.camera, instrument.optics, night.scene(exposure))


def test_detections_lie_on_their_quadrant_and_map_to_their_place(night, instrument, detections):
    exposure, shape = science(night)[3], instrument.camera.quadrant
    assert detections.num_rows > 1000
    x, y = (detections[c].to_numpy() for c in ("x", "y"))
    assert ((x >= 0.5) & (x < shape.nx + 0.5) & (y >= 0.5) & (y < shape.ny + 0.5)).all()
    assert pc.max(detections["mag"]).as_py() < DETECTION_LIMIT_MAG
    for rcid in range(instrument.camera.n_quadrants):
        rows = detections.filter(pc.equal(detections["rcid"], rcid)).slice(0, 40)
        ra, dec = instrument.optics.pixels_to_sky(exposure, rcid, rows["x"].to_numpy(), rows["y"].to_numpy())
        # The colour of a star shifts it in the air by up to a tenth of an arcsecond or two.
        assert np.abs(dec - rows["dec"].to_numpy()).max() * 3600 < 0.3
        assert np.abs(ra - rows["ra"].to_numpy()).max() * 3600 < 0.4


def test_detected_fluxes_are_electrons_over_the_channels_gain(instrument, detections):
    gains = np.array([q.detector.gain for q in instrument.camera.quadrants])
    expected = detections["electrons"].to_numpy() / gains[detections["rcid"].to_numpy()]
    assert detections["flux_dn"].to_numpy() == pytest.approx(expected)


def test_every_detection_is_an_object(objects, detections):
    # Objects are listed to the same limit in r: near it another band or an instant may be brighter.
    bright = detections.filter(pc.less(detections["mag"], 20.0))
    missing = set(bright["object_id"].to_pylist()) - set(objects["object_id"].to_pylist())
    assert not missing


def test_objects_know_what_they_are(objects):
    assert objects.schema == OBJECT_SCHEMA
    assert len(pc.unique(objects["object_id"])) == objects.num_rows
    kinds = {r["values"]: r["counts"] for r in pc.value_counts(objects["kind"]).to_pylist()}
    assert set(kinds) == {"star", "galaxy", "variable", "supernova", "transient", "asteroid"}
    variables = objects.filter(pc.equal(objects["kind"], "variable"))
    assert variables["period_days"].null_count == 0
    assert set(variables["class"].to_pylist()) == {"eclipsing", "rr_lyrae", "long_period"}
    supernovae = objects.filter(pc.equal(objects["kind"], "supernova"))
    assert supernovae["host_id"].null_count == 0
    assert set(supernovae["host_id"].to_pylist()) <= set(night_galaxies(objects))
    asteroids = objects.filter(pc.equal(objects["kind"], "asteroid"))
    assert asteroids["a_au"].null_count == 0
    fast = family_of(asteroids["object_id"].to_numpy()) == Family.FAST_ASTEROID
    assert np.array_equal(fast, np.array(asteroids["class"].to_pylist()) == "fast")


def night_galaxies(objects):
    return objects.filter(pc.equal(objects["kind"], "galaxy"))["object_id"].to_pylist()


def test_indoor_frames_have_no_detections(night, instrument):
    scene = night.scene(night.exposures[0])
    assert detection_table(instrument.camera, instrument.optics, scene).num_rows == 0


def test_a_night_indoors_has_no_objects():
    assert night_objects(make_night(exposures=0)).num_rows == 0


def test_exposures_say_what_was_true(night):
    survey = make_world().site.survey
    flags = [survey.is_science(e.imgtypecode, e.programid) for e in night.exposures]
    table = exposure_table(night.exposures, flags)
    assert table.schema == EXPOSURE_SCHEMA
    assert table["expid"].to_pylist() == [e.expid for e in night.exposures]
    assert table["led"].null_count == sum(e.led is None for e in night.exposures)
    assert sum(table["is_science"].to_pylist()) == len(science(night))


def test_quadrants_carry_their_true_coordinates(night, instrument):
    exposures = science(night)[:2]
    table = quadrant_table(instrument.camera, instrument.optics, exposures)
    assert table.schema == QUADRANT_SCHEMA
    assert table.num_rows == 2 * instrument.camera.n_quadrants
    row = table.slice(3, 1).to_pylist()[0]
    # Reference 1.2: x points west, y south.
    scale = 1.012 / 3600
    assert (row["cd11"], row["cd22"]) == pytest.approx((-scale, -scale), rel=5e-3)
    assert abs(row["cd12"]) < 0.01 * scale
    corner = instrument.optics.pixels_to_sky(exposures[0], 3, 1, instrument.camera.quadrant.ny)
    assert (row["ra4"], row["dec4"]) == pytest.approx(corner, abs=1e-9)


def test_tables_are_written_whole_and_read_back(tmp_path, night):
    table = exposure_table(night.exposures[:3], [False] * 3)
    write_truth(tmp_path, NIGHT, {"exposures": table})
    assert read_truth(tmp_path, NIGHT, "exposures").equals(table)
    write_truth(tmp_path, NIGHT, {"exposures": table.slice(0, 1)})
    assert read_truth(tmp_path, NIGHT, "exposures").num_rows == 1
    assert [p.name for p in (tmp_path / str(NIGHT)).iterdir()] == ["exposures.parquet"]


def test_a_night_without_truth_says_what_to_do(tmp_path):
    with pytest.raises(NothingToDoError, match=r"deliveries.parquet: no truth.*zsds simulate"):
        read_truth(tmp_path, NIGHT, "deliveries")


def test_a_full_disk_is_a_transient_error(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zsds_tasks.simulator.truth.tables.pq.write_table", refuse)
    with pytest.raises(
        TransientError, match=r"exposures.parquet: cannot write truth: No space left.*ZSDS_TRUTH"
    ):
        write_truth(tmp_path, NIGHT, {"exposures": pa.table({"a": [1]})})
    assert not truth_path(tmp_path, NIGHT, "exposures").exists()
