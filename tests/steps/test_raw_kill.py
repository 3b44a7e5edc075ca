"""Kill -9 of ingest at every step and at random moments, then run it again: as if nothing had happened."""

import datetime as dt
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import NIGHT_START, Installation

SCRIPT = Path(__file__).with_name("ingest_processes.py")
TABLES = ("raw_quadrants", "raw_exposures", "quarantine")
# Of 24 steps, in two batches of three files: while files are verified (1-3), while they are placed (4-6),
# after each commit (7-9), while the incoming folder is emptied (10-12).
KILL_STEPS = (2, 5, 7, 8, 9, 11, 19, 21)
RANDOM_KILLS = 2
NOTHING_TO_DO = 3  # how ingest_processes.py ends when there was nothing left


def run(orders):
    """Carry out orders in a process of their own; return how each child ended."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(orders)],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return [int(line) for line in done.stdout.split()]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    """An installation with a delivery of every kind: exposures of one and two CCDs, junk, a conflict."""
    folder = tmp_path_factory.mktemp("kill") / "template"
    folder.mkdir()
    place = Installation.at(folder)
    whole = [place.frames.build(NIGHT_START, ccdid) for ccdid in (1, 2)]
    name, data = place.frames.build(NIGHT_START, 1, seed=9)
    truncated = (whole[1][0].replace("187500", "187400"), whole[1][1][:9000])
    single = place.frames.build(NIGHT_START + dt.timedelta(seconds=45))
    place.deliver(*whole, (name.replace("187500", "187501"), data), truncated, single, ("junk", b"x"))
    return folder


def again(delivered, number):
    """Return a fresh copy of the installation as delivered."""
    folder = delivered.parent / f"copy{number}"
    shutil.copytree(delivered / "var", folder / "var")
    (folder / "include").symlink_to(delivered / "include")
    return str(folder)


def state(folder):
    """Return everything an ingest leaves behind."""
    place = Installation.existing(Path(folder))
    place.assert_sound()
    stored = {name: place.stored(name) for name in ("raw", "quarantine")}
    return {name: place.rows(name) for name in TABLES} | stored | {"incoming": place.delivered()}


@pytest.fixture(scope="module")
def ends(delivered):
    """Carry out every scenario, each in a fresh copy: scenario -> (folder, how its processes ended)."""
    moments = np.random.default_rng(7).uniform(0.0, 0.6, 2 * RANDOM_KILLS)
    scenarios = {"undisturbed": [{}], "both": [{"processes": 2}, {"processes": 2}]}
    for step in KILL_STEPS:
        scenarios[f"killed at step {step}"] = [{"kill_at": step}, {}]
    for first, second in moments.reshape(-1, 2).tolist():
        scenarios[f"killed after {first:.3f} s and {second:.3f} s"] = [
            {"kill_after_s": first},
            {"kill_after_s": second},
            {},
        ]
    folders = {name: again(delivered, number) for number, name in enumerate(scenarios)}
    orders = [{"folder": folders[name]} | step for name, steps in scenarios.items() for step in steps]
    codes = iter(run(orders))
    return {
        name: (folders[name], [next(codes) for step in steps for _ in range(step.get("processes", 1))])
        for name, steps in scenarios.items()
    }


@pytest.fixture(scope="module")
def undisturbed(ends):
    folder, codes = ends["undisturbed"]
    assert codes == [0]
    found = state(folder)
    assert found["incoming"] == []
    assert (len(found["raw_exposures"]), len(found["quarantine"])) == (2, 3)
    return found


@pytest.mark.parametrize("step", KILL_STEPS)
def test_a_kill_at_any_step_is_healed_by_the_next_run(ends, undisturbed, step):
    folder, (killed, healed) = ends[f"killed at step {step}"]
    assert killed == -signal.SIGKILL
    assert healed in {0, NOTHING_TO_DO}
    assert state(folder) == undisturbed


def test_kills_at_random_moments_are_healed(ends, undisturbed):
    names = [name for name in ends if name.startswith("killed after")]
    assert len(names) == RANDOM_KILLS
    for name in names:
        folder, codes = ends[name]
        assert codes[-1] in {0, NOTHING_TO_DO}, name
        assert state(folder) == undisturbed, name


def test_two_ingests_on_one_folder_do_it_once(ends, undisturbed):
    folder, codes = ends["both"]
    assert 0 in codes[:2]
    assert set(codes) <= {0, NOTHING_TO_DO}
    assert state(folder) == undisturbed
