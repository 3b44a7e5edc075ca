"""The hot path: differences in memory equal those from files; killed anywhere, run again, nothing differs."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import hot_path_processes
import numpy as np
import pyarrow as pa
import pytest
from hot_path_builder import LATER, RCID, observatory
from hot_path_processes import Given
from science_builder import copy_of

from zsds_tasks.broker.outbox import Outbox
from zsds_tasks.lakehouse import paths
from zsds_tasks.pixels.compressed import decode_image, encode_image
from zsds_tasks.steps import difference
from zsds_tasks.steps.difference import load_differencing_config, subtract_references
from zsds_tasks.steps.difference.reference_cache import COLUMNS
from zsds_tasks.steps.difference.scores import triplets
from zsds_tasks.steps.exposure import load_exposure_config, process_exposures, run, work_list

pytestmark = pytest.mark.timeout(900)
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def waiting(tmp_path_factory):
    """A reference, and an exposure after it that waits."""
    return observatory(tmp_path_factory.mktemp("waiting"))


def process(place, **options):
    return process_exposures(place.lakehouse, place.settings, LATER, expids=place.expids[-1:], **options)


@pytest.fixture(scope="module")
def processed(waiting, tmp_path_factory):
    place = copy_of(waiting, tmp_path_factory.mktemp("processed"))
    return place, process(place)


def state(place):
    """Return all rows as text (NaN is not equal to itself), without what a clock decides; packets; files."""
    lakehouse = place.lakehouse
    folder = Path(lakehouse.storage.root)
    tables = {}
    for name in sorted(path.name for path in (folder / paths.LAKE).iterdir()):
        rows = lakehouse.table(name).read().to_pylist()
        tables[name] = sorted(str({k: v for k, v in row.items() if k != "core_seconds"}) for row in rows)
    outbox = Outbox(place.settings.outbox_folder)
    packets = {
        (topic, message.candid): (message.key, message.payload)
        for topic in outbox.topics()
        for message in outbox.pending(topic)
    }
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in (folder / "sci").rglob("*")
        if path.is_file() and not path.name.endswith(".part-tmp")
    }
    return {"tables": tables, "packets": packets, "files": files}


def test_one_call_makes_image_difference_and_candidates(processed):
    place, summary = processed
    assert (summary.quadrants, summary.failed, summary.differences, summary.not_compared) == (1, (), 1, ())
    assert summary.waiting == 0
    assert summary.candidates == place.lakehouse.table("candidates").count() > 20
    (row,) = place.lakehouse.table("difference_images").read().to_pylist()
    assert (row["status"], row["stage"], row["pass_number"], row["rcid"]) == (1, "done", 1, RCID)
    again = process(place)
    assert (again.quadrants, again.differences) == (0, 0)
    assert again.reason == "every ready exposure is processed"


def test_an_image_compared_in_memory_and_from_its_files_gives_the_same_rows_and_bytes(
    waiting, processed, tmp_path, monkeypatch
):
    place = copy_of(waiting, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(difference.ReferenceShelf, "choose", lambda *_: None)
        assert process(place).differences == 0
    summary = subtract_references(place.lakehouse, place.settings)
    assert (summary.images, summary.failed) == (1, ())
    assert state(place) == state(processed[0])


def test_what_an_encoder_restores_is_what_a_reader_gets():
    generator = np.random.default_rng(3)
    image = generator.normal(100, 8, (70, 91)).astype(np.float32)
    image[3:5, 7:30] = np.nan
    image[32:64] = 5.0  # a tile without noise
    restored = np.empty_like(image)
    data = encode_image(image, [], name="X", restored=restored)
    assert data == encode_image(image, [], name="X")
    read = decode_image(data, subject="x")
    assert np.array_equal(read.view(np.uint32), restored.view(np.uint32))
    with pytest.raises(ValueError, match="no room"):
        encode_image(image, [], name="X", restored=restored[1:])


def test_a_difference_that_fails_leaves_the_calibration(waiting, tmp_path):
    place = copy_of(waiting, tmp_path)
    (reference,) = place.lakehouse.table("references").read().to_pylist()
    place.lakehouse.storage.delete(reference["path"])
    summary = process(place)
    assert (summary.quadrants, summary.failed, summary.differences) == (1, (), 1)
    (failure,) = summary.not_compared
    assert reference["path"] in failure
    (row,) = place.lakehouse.table("difference_images").read().to_pylist()
    assert (row["status"], row["stage"]) == (0, "subtract")
    assert place.lakehouse.table("sources").count({"expid": place.expids[-1]}) > 300
    assert process(place).differences == 0  # the same input fails the same way


def test_a_raw_file_that_came_anew_is_another_pass(processed, tmp_path):
    place = copy_of(processed[0], tmp_path)
    before = set(place.lakehouse.table("candidates").read(["candid"])["candid"].to_pylist())
    images = place.lakehouse.table("science_images")
    row = images.read(where={"expid": place.expids[-1]}).to_pylist()[0]
    images.merge([row | {"raw_sha256": "0" * 64}])  # as if that had been processed
    assert process(place).differences == 1
    rows = place.lakehouse.table("difference_images").read().to_pylist()
    assert [row["pass_number"] for row in rows] == [1]  # it is the old input again
    images.merge([row | {"raw_sha256": "0" * 64}])
    summary = subtract_references(place.lakehouse, place.settings)
    assert summary.images == 1
    after = set(place.lakehouse.table("candidates").read(["candid"])["candid"].to_pylist())
    assert len(after) == len(before)
    assert not after & before


def test_stamps_for_scores_are_those_of_packets():
    image = np.arange(90 * 80, dtype=np.float32).reshape(90, 80)
    rows = pa.table({"xpos": [40.0, 3.2, 80.0], "ypos": [45.0, 90.0, 1.0], "isdiffpos": [True, False, True]})
    found = triplets(rows, (image, 2 * image, image + 1), 63)
    assert found.shape == (3, 3, 63, 63)
    for (xpos, ypos), triplet in zip(((40, 45), (3, 90), (80, 1)), found, strict=True):
        assert triplet[0, 31, 31] == image[ypos - 1, xpos - 1]
    assert found[1, 2, 31, 31] == -(image[89, 2] + 1)
    assert np.isnan(found[1, :, :, :29]).all()
    assert np.isnan(found[2, :, :31]).all()
    assert np.isfinite(found[0]).all()


# Before the first rows of a stage, before the commit that ends it, before packets: a wrong order is found.
KILL_POINTS = (
    "written scimrefdiffimg.fits.fz", "rows of sources", "commit of science_images", "rows of candidates",
    "commit of difference_images", "written packets", "commit of alerts",
)  # fmt: skip


def carry_out(waiting, folder, whole, killed):
    """Do the work in processes; tables are read here, for a process that forks must not."""
    place = copy_of(waiting, folder)
    lakehouse, settings, expid = place.lakehouse, place.settings, place.expids[-1]
    config = load_exposure_config(settings.include)
    work = work_list(lakehouse, settings, config, LATER, expids=[expid])
    work = run._with_references(work, lakehouse, settings, load_differencing_config(settings.include))
    quadrant = work[0].quadrants[0]
    which = {"rfid": quadrant.reference.reference["rfid"]}
    sources = lakehouse.table("reference_sources").read(COLUMNS, which)
    folders = {name: str(one.settings.var) for name, one in killed.items()}
    given = Given(settings, quadrant, sources, expid, LATER, str(whole.settings.var), folders)
    path = folder / "given.pickle"
    path.write_bytes(pickle.dumps(given))
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    done = subprocess.run(
        [sys.executable, hot_path_processes.__file__, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        env=os.environ | threads,
    )
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()], done.stderr


def test_killed_at_any_write_and_run_again_nothing_differs(waiting, tmp_path):
    whole = copy_of(waiting, tmp_path / "whole")
    killed = {name: copy_of(waiting, tmp_path / str(k)) for k, name in enumerate(KILL_POINTS)}
    codes, errors = carry_out(waiting, tmp_path / "warm", whole, killed)
    assert codes == [0] + [KILLED] * len(killed) + [0] * len(killed), errors
    undisturbed = state(whole)
    assert json.loads((whole.settings.var / "steps.json").read_text())["problems"] == []
    assert len(undisturbed["packets"]) > 5
    for where, place in killed.items():
        after = state(place)
        for name in undisturbed["tables"]:
            assert after["tables"][name] == undisturbed["tables"][name], f"{name}, killed at: {where}"
        assert after["packets"] == undisturbed["packets"], where
        assert after["files"] == undisturbed["files"], where
