from __future__ import annotations

import json

from zsds_tasks.settings import REPOSITORY

HEAVY = {
    "astropy", "cdshealpix", "confluent_kafka", "deltalake", "duckdb", "great_expectations", "hats", "lsdb",
    "matplotlib", "numba", "numpy", "pandas", "polars", "pyarrow", "ray", "scipy", "s3fs",
}  # fmt: skip
# Change this on purpose only: it is what operators see.
SNAPSHOT = {
    "catalogs": ["check_catalogs", "make_release", "update_catalogs"],
    "exposure": ["make_alerts", "process", "send_alerts"],
    "ingest": ["ingest_raw"],
    "maintenance": ["maintain"],
    "night": [
        "archive_alerts",
        "assess_raw",
        "build_masters",
        "check_tables",
        "gather_alert_curves",
        "ingest_remaining",
        "make_alerts",
        "process_exposures",
        "publish_catalogs",
        "refine_calibration",
        "score_against_truth",
        "send_alerts",
        "update_lightcurves",
        "update_objects",
        "write_report",
    ],
    "references": ["build_references", "make_alerts", "subtract_references"],
}


def dags_of(parsed):
    return {dag_id: dag for file in parsed.values() for dag_id, dag in file["dags"].items()}


def test_every_file_is_one_rhythm_and_the_tasks_are_the_known_ones(parsed):
    assert {f"{dag_id}.py" for dag_id in SNAPSHOT} == set(parsed)
    assert {dag_id: sorted(dag["tasks"]) for dag_id, dag in dags_of(parsed).items()} == SNAPSHOT


def test_parsing_imports_nothing_heavy(parsed):
    for name, file in parsed.items():
        heavy = {module.split(".")[0] for module in file["imported"]} & HEAVY
        assert not heavy, f"{name} imports {heavy} at parse time"


def test_a_heavy_import_would_be_seen(airflow_environment, tmp_path):
    """The test above can fail: a DAG file that imports pyarrow at its top is caught."""
    import subprocess
    import sys

    from tests.dags.conftest import PARSE

    (tmp_path / "heavy.py").write_text("import pyarrow\n")
    done = subprocess.run(
        [sys.executable, str(PARSE), str(tmp_path)],
        env=airflow_environment, capture_output=True, text=True, check=True, timeout=90,
    )  # fmt: skip
    assert "pyarrow" in json.loads(done.stdout.splitlines()[-1])["heavy.py"]["imported"]


def test_every_dag_has_tags_a_document_and_no_catchup(parsed):
    for dag_id, dag in dags_of(parsed).items():
        assert "zsds" in dag["tags"], dag_id
        assert dag["doc"], dag_id
        assert dag["catchup"] is False, dag_id
        assert dag["max_active_runs"] == 1, dag_id


def test_every_task_retries_has_a_declared_pool_and_is_not_mapped(parsed):
    pools = json.loads((REPOSITORY / "include" / "config" / "airflow" / "pools.json").read_text())
    for dag in dags_of(parsed).values():
        for name, task in dag["tasks"].items():
            assert task["retries"] >= 1, name
            assert task["pool"] in pools, name
            assert not task["mapped"], name


def test_the_night_publishes_only_after_its_checks_and_always_reports(parsed):
    tasks = dags_of(parsed)["night"]["tasks"]
    assert tasks["ingest_remaining"]["downstream"] == ["assess_raw"]
    assert tasks["assess_raw"]["downstream"] == ["build_masters"]
    assert tasks["build_masters"]["downstream"] == ["process_exposures"]
    assert sorted(tasks["process_exposures"]["downstream"]) == [
        "make_alerts",
        "refine_calibration",
        "update_lightcurves",
    ]
    assert tasks["refine_calibration"]["downstream"] == ["check_tables", "score_against_truth"]
    assert sorted(tasks["make_alerts"]["downstream"]) == [
        "archive_alerts",
        "gather_alert_curves",
        "score_against_truth",
        "send_alerts",
    ]
    assert tasks["send_alerts"]["downstream"] == tasks["archive_alerts"]["downstream"] == []
    assert tasks["gather_alert_curves"]["downstream"] == ["check_tables"]
    assert tasks["update_lightcurves"]["downstream"] == ["update_objects"]
    assert tasks["update_objects"]["downstream"] == ["check_tables", "score_against_truth"]
    assert "publish_catalogs" in tasks["check_tables"]["downstream"]
    assert "write_report" in tasks["check_tables"]["downstream"]
    assert tasks["write_report"]["trigger_rule"] == "all_done"


def test_a_release_is_made_only_of_what_was_checked(parsed):
    tasks = dags_of(parsed)["catalogs"]["tasks"]
    assert tasks["update_catalogs"]["downstream"] == ["check_catalogs"]
    assert tasks["check_catalogs"]["downstream"] == ["make_release"]
    assert tasks["make_release"]["trigger_rule"] == "all_success"


def test_timetables(parsed):
    dags = dags_of(parsed)
    assert dags["night"]["timetable"] == "ObservingNightTimetable"
    assert dags["ingest"]["timetable"] == "AssetOrTimeSchedule"
