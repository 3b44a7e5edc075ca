import hashlib
import io
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.compute as pc
import pytest
import yaml
from astropy.io import fits
from instrument_builders import INCLUDE, make_exposure, small_camera

from zsds_tasks.errors import ConfigurationError, TransientError
from zsds_tasks.settings import Settings
from zsds_tasks.simulator import production
from zsds_tasks.simulator.delivery import faults
from zsds_tasks.simulator.delivery.courier import Courier, WrittenFile, open_spool, write_hidden
from zsds_tasks.simulator.delivery.faults import Fault, FaultsConfig, Outcome, plan_faults
from zsds_tasks.simulator.night import simulate_night
from zsds_tasks.simulator.truth.artefacts import ARTEFACT_SCHEMA, Artefact, artefact_table, cut_to_box
from zsds_tasks.simulator.truth.tables import read_truth
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.filenames import RawFileName
from zsds_tasks.survey.nights import ObservingNight

NIGHT = ObservingNight.parse("20251012")
SEED = 5


@pytest.fixture(scope="module")
def small_include(tmp_path_factory):
    """The declarations with the small camera, two bias frames and no flats."""
    include = tmp_path_factory.mktemp("declarations") / "include"
    shutil.copytree(INCLUDE / "config", include / "config")
    camera = small_camera().model_dump(mode="json") | {"name": "small"}
    (include / "config/cameras/small.yaml").write_text(yaml.safe_dump(camera))
    path = include / "config/simulator.yaml"
    content = yaml.safe_load(path.read_text())
    content["schedule"] |= {
        "bias_frames": 2,
        "flats_per_led": 0,
        "short_flats_per_led": 0,
        "engineering_frames": False,
    }
    path.write_text(yaml.safe_dump(content))
    return include


def play(folder, include, **arguments):
    settings = Settings(var=folder, include=include, camera="small", workers=1)
    return settings, simulate_night(settings, NIGHT, SEED, **({"exposures": 9, "workers": 1} | arguments))


@pytest.fixture(scope="module")
def simulated(small_include, tmp_path_factory):
    folder, seen, catalogs = tmp_path_factory.mktemp("night"), [], []

    def watch(*numbers):
        seen.append(numbers)
        catalogs.append({path.parent.name for path in folder.rglob("collection.properties")})

    settings, summary = play(folder, small_include, progress=watch)
    return settings, summary, seen, catalogs


def test_catalogues_are_whole_before_the_first_frame_is_delivered(simulated):
    _, summary, _, catalogs = simulated
    assert catalogs[0] == catalogs[-1] == set(summary.catalogs)
    assert {"gaia", "ps1"} <= catalogs[0]


def content_of(settings):
    return {path.name: path.read_bytes() for path in settings.incoming_folder.iterdir()}


def test_the_night_is_delivered_whole_under_its_own_names(simulated):
    settings, summary, seen, _ = simulated
    files = content_of(settings)
    deliveries = read_truth(settings.truth_folder, NIGHT, "deliveries").to_pylist()
    arrived = {d["name"] for d in deliveries if d["expected"] != "missing"}
    assert set(files) == arrived
    assert all(RawFileName.parse(name).prefix == "ztf" for name in files)
    assert summary.files == sum(d["expected"] != "missing" for d in deliveries)
    assert [numbers[:2] for numbers in seen] == [(i + 1, 11) for i in range(11)]
    assert all(RawFileName.parse(name).ccdid == 2 for _, _, name in seen)
    assert summary.as_dict()["exposures"] == 11
    final = {d["name"]: d for d in deliveries if d["expected"] not in {"missing", "replaced"}}
    assert all(hashlib.sha256(files[name]).hexdigest() == d["sha256"] for name, d in final.items())
    assert all(len(files[name]) == d["bytes"] for name, d in final.items())


def test_every_fault_happened_and_is_what_the_truth_says(simulated):
    settings, summary, *_ = simulated
    assert summary.faults == dict.fromkeys((f.value for f in Fault if f != Fault.NONE), 1)
    files = content_of(settings)
    deliveries = read_truth(settings.truth_folder, NIGHT, "deliveries").to_pylist()
    by_fault = {d["fault"]: d for d in deliveries}
    shape = small_camera().quadrant
    with fits.open(io.BytesIO(files[by_fault["wrong_shape"]["name"]])) as file:
        assert file[2].shape == (shape.ny - faults.DROPPED_ROWS, shape.nx)
    with fits.open(io.BytesIO(files[by_fault["missing_keywords"]["name"]])) as file:
        assert not set(faults.DROPPED_KEYWORDS) & set(file[0].header)
    with (
        pytest.warns(Warning, match="verification failed"),
        fits.open(
            io.BytesIO(files[by_fault["corrupt"]["name"]]), checksum=True, disable_image_compression=True
        ) as file,
    ):
        assert [hdu.name for hdu in file]
    assert by_fault["lost"]["name"] not in files
    assert by_fault["late"]["sequence"] > len(deliveries) - 4
    assert {d["expected"] for d in deliveries if d["fault"] == "conflict"} == {"replaced", "ingested"}
    good = [d for d in deliveries if d["fault"] == "none"]
    for d in good[:4]:
        with fits.open(io.BytesIO(files[d["name"]]), checksum=True) as file:
            file.verify("exception")
            assert file[0].header["EXPID"] == d["expid"]


def test_truth_says_where_things_fell(simulated):
    settings, *_ = simulated
    detections = read_truth(settings.truth_folder, NIGHT, "detections")
    exposures = read_truth(settings.truth_folder, NIGHT, "exposures")
    artefacts = read_truth(settings.truth_folder, NIGHT, "artefacts")
    defects = read_truth(settings.truth_folder, NIGHT, "defects")
    assert len(exposures) == 11
    assert pc.sum(exposures["is_sky"]).as_py() == 9
    assert len(detections) > 100
    assert set(detections["rcid"].to_pylist()) <= set(range(8))
    keys = list(zip(*(detections[c].to_pylist() for c in ("expid", "object_id")), strict=True))
    assert len(set(keys)) == len(keys)
    assert artefacts.schema.equals(ARTEFACT_SCHEMA)
    assert defects["x"].to_numpy().min() >= 1


def test_the_same_seed_gives_the_same_bytes_in_any_order(simulated, small_include, tmp_path):
    settings, *_ = simulated
    production.set_stage.cache_clear()
    recipe = production.Recipe(small_include, "small", SEED, NIGHT, exposures=9)
    files = content_of(settings)
    deliveries = read_truth(settings.truth_folder, NIGHT, "deliveries").to_pylist()
    clean = {d["name"] for d in deliveries if d["fault"] in {"none", "late"}}
    tasks = [production.FileTask(i, ccdid) for i in (7, 3, 0) for ccdid in (2, 1)]
    again = {made.file.name: made.file for made in (production.make_file(recipe, tmp_path, t) for t in tasks)}
    compared = clean & set(again)
    assert len(compared) >= 3
    assert all(files[name] == again[name].hidden.read_bytes() for name in compared)


def test_an_unknown_effect_is_refused(small_include, tmp_path):
    with pytest.raises(ConfigurationError, match=r"no such effect: \['rain'\].*Remedy"):
        play(tmp_path, small_include, without=("rain",))


def test_a_killed_run_leaves_nothing_behind_for_the_next(tmp_path):
    spool = open_spool(tmp_path, "small-20251012")
    (spool / "half").write_bytes(b"1")
    assert list(open_spool(tmp_path, "small-20251012").iterdir()) == []


def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(TransientError, match=r"cannot write a raw file.*Remedy: free space"):
        write_hidden(tmp_path / "missing" / "file", b"1")


def written(folder, name, content):
    path = folder / f"{name}.{len(list(folder.iterdir()))}"
    path.write_bytes(content)
    return WrittenFile(1, 1, "o", 1, name, path, len(content), hashlib.sha256(content).hexdigest())


def test_a_second_file_waits_for_its_name_to_be_free(tmp_path):
    incoming, spool = tmp_path, tmp_path / ".spool"
    spool.mkdir()
    courier = Courier(incoming)
    for fault in (Fault.DUPLICATE, Fault.CONFLICT):
        courier.take(written(spool, fault.value, b"first"), written(spool, fault.value, b"again"), fault)
    with ThreadPoolExecutor(1) as pool:
        finishing = pool.submit(courier.finish, 20.0)
        for fault in (Fault.DUPLICATE, Fault.CONFLICT):
            (incoming / fault.value).replace(spool / f"{fault.value} taken")
        finishing.result()
    assert [d.expected for d in courier.deliveries] == [
        Outcome.INGESTED,
        Outcome.INGESTED,
        Outcome.DUPLICATE,
        Outcome.QUARANTINED,
    ]
    assert (incoming / "conflict").read_bytes() == b"again"
    assert courier.count == 4


def test_faults_are_planned_by_seed_on_different_exposures():
    files = [(make_exposure(expid=i), ccdid) for i in range(40) for ccdid in (1, 2)]
    plan = plan_faults(FaultsConfig(), 1, NIGHT, files)
    assert plan == plan_faults(FaultsConfig(), 1, NIGHT, list(reversed(files)))
    assert plan != plan_faults(FaultsConfig(), 2, NIGHT, files)
    assert sorted(plan.values()) == sorted(f for f in Fault if f != Fault.NONE)
    assert len({expid for expid, _ in plan}) == len(plan)
    assert plan_faults(FaultsConfig(), 1, NIGHT, []) == {}
    assert len(plan_faults(FaultsConfig(truncated=90), 1, NIGHT, files)) == 40


def test_lines_are_cut_to_the_box():
    assert cut_to_box(((-10.0, 5.0), (30.0, 5.0)), (20, 10)) == ((0.5, 5.0), (20.5, 5.0))
    assert cut_to_box(((-10.0, 50.0), (30.0, 50.0)), (20, 10)) is None
    assert cut_to_box(((5.0, 50.0), (6.0, 60.0)), (20, 10)) is None


def test_artefacts_are_told_to_every_channel_they_touch():
    camera = load_camera("mini", INCLUDE)
    centre = Artefact.around(camera, 9, 2, "ghost", (768.5, 770.5), 30.0, 5.0)
    rows = artefact_table(camera, [centre]).to_pylist()
    assert [row["rcid"] for row in rows] == [4, 5, 6, 7]
    assert [(row["x"], row["y"]) for row in rows] == [(768.5, 770.5), (0.5, 770.5), (0.5, 0.5), (768.5, 0.5)]
    assert Artefact.around(camera, 9, 2, "ghost", (-100.0, 50.0), 30.0, 5.0) is None
    assert Artefact.around(camera, 9, 2, "ghost", (np.nan, 50.0), 30.0, 5.0) is None
    assert artefact_table(camera, []).num_rows == 0
