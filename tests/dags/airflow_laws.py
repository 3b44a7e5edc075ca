"""Run by test_airflow.py with Airflow's environment set; prints the last line only if every law holds."""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import tempfile
from pathlib import Path

import pendulum
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.timetables.base import TimeRestriction
from airflow.utils.process_utils import set_component_mp_start_method
from airflow.utils.types import DagRunType

from zsds_airflow.arrivals import RawFilesArrived
from zsds_airflow.outcomes import step
from zsds_airflow.timetables import ObservingNightTimetable
from zsds_tasks.errors import (
    ConfigurationError,
    NothingToDoError,
    TransientError,
    UnusableInputError,
)
from zsds_tasks.operations.preload import OF_AIRFLOW, preload_environment

UTC = "UTC"


def nights_between(first: str, last: str, noon: int) -> list[pendulum.DateTime]:
    table = ObservingNightTimetable(noon)
    span = TimeRestriction(pendulum.parse(first), pendulum.parse(last), catchup=True)
    info = table.next_dagrun_info(last_automated_data_interval=None, restriction=span)
    found = []
    while info is not None:
        found.append(info.logical_date)
        assert info.run_after == info.data_interval.end > info.data_interval.start
        info = table.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=span)
    return found


def a_backfill_of_two_dates_is_two_nights() -> None:
    nights = nights_between("2025-10-12", "2025-10-13", noon=20)
    assert [n.format("YYYYMMDD") for n in nights] == ["20251012", "20251013"], nights


def a_backfill_of_one_date_is_one_night_at_any_site() -> None:
    for noon in (0, 2, 11, 12, 20, 23):
        assert [n.format("YYYYMMDD") for n in nights_between("2025-10-12", "2025-10-12", noon)] == [
            "20251012"
        ]


def a_night_is_due_at_the_noon_after_it() -> None:
    table = ObservingNightTimetable(20)
    interval = table.infer_manual_data_interval(run_after=pendulum.datetime(2025, 10, 12, tz=UTC))
    assert interval.end == pendulum.datetime(2025, 10, 12, 20, tz=UTC)
    eastern = ObservingNightTimetable(2).infer_manual_data_interval(run_after=pendulum.datetime(2025, 10, 12))
    assert eastern.end == pendulum.datetime(2025, 10, 13, 2, tz=UTC)


def without_catchup_the_first_run_is_the_last_complete_night() -> None:
    table = ObservingNightTimetable(20)
    open_ended = TimeRestriction(pendulum.datetime(2017, 1, 1), None, catchup=False)
    info = table.next_dagrun_info(last_automated_data_interval=None, restriction=open_ended)
    assert info is not None
    now = pendulum.now(UTC)
    assert info.run_after <= now < info.run_after + pendulum.duration(days=1)


def the_timetable_survives_serialization() -> None:
    table = ObservingNightTimetable.deserialize(ObservingNightTimetable(20).serialize())
    assert table.noon_utc_hour == 20


def outcome_of(error: Exception) -> type[BaseException]:
    @step
    def task() -> None:
        raise error

    with pytest.raises(BaseException, match=str(error)) as raised:
        task()
    return raised.type


def errors_become_outcomes() -> None:
    assert outcome_of(NothingToDoError("none")) is AirflowSkipException
    assert outcome_of(UnusableInputError("bad", subject="a.fits")) is AirflowFailException
    assert outcome_of(ConfigurationError("wrong")) is AirflowFailException
    assert outcome_of(TransientError("later")) is TransientError
    assert outcome_of(ZeroDivisionError("defect")) is ZeroDivisionError
    assert step(lambda: 7)() == 7


async def first_event(folder: Path) -> object:
    async for event in RawFilesArrived(str(folder)).run():
        return event.payload
    return None


def arriving_files_fire_and_hidden_ones_do_not() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "incoming"  # does not exist yet: the camera has never delivered

        async def watch() -> object:
            waiting = asyncio.create_task(first_event(folder))
            await asyncio.sleep(0.2)
            folder.mkdir()
            (folder / ".hidden.part").touch()
            await asyncio.sleep(2.5)
            assert not waiting.done(), "fired for a hidden file"
            (folder / "ztf.fits.fz").touch()
            return await asyncio.wait_for(waiting, timeout=6)

        assert asyncio.run(watch()) == {"new_files": 1}
    path, arguments = RawFilesArrived("/x").serialize()
    assert path == "zsds_airflow.arrivals.RawFilesArrived"
    assert arguments == {"folder": "/x"}


def a_scheduled_run_is_named_by_its_night() -> None:
    table, night = ObservingNightTimetable(20), pendulum.datetime(2025, 10, 12, tz=UTC)
    interval = table.infer_manual_data_interval(run_after=night)
    names = {
        kind: table.generate_run_id(run_type=kind, run_after=interval.end, data_interval=interval)
        for kind in (DagRunType.SCHEDULED, DagRunType.MANUAL)
    }
    assert names[DagRunType.SCHEDULED] == "scheduled__night_20251012"
    assert names[DagRunType.MANUAL].startswith("manual__2025-10-12T20:00")


def the_plugin_registers_the_timetable() -> None:
    from airflow.plugins_manager import get_import_errors, get_timetables_plugins

    assert "zsds_airflow.timetables.ObservingNightTimetable" in get_timetables_plugins()
    assert not get_import_errors(), get_import_errors()


def the_scheduler_forks_its_workers_from_a_keeper_of_these_modules() -> None:
    """The keeper passes over a module that it cannot import: one that was renamed would go unnoticed."""
    os.environ |= preload_environment()
    set_component_mp_start_method("scheduler")
    assert multiprocessing.get_start_method() == "forkserver"
    for name in OF_AIRFLOW:
        importlib.import_module(name)


assert os.environ["AIRFLOW_HOME"]
a_backfill_of_two_dates_is_two_nights()
a_backfill_of_one_date_is_one_night_at_any_site()
a_night_is_due_at_the_noon_after_it()
without_catchup_the_first_run_is_the_last_complete_night()
the_timetable_survives_serialization()
errors_become_outcomes()
arriving_files_fire_and_hidden_ones_do_not()
a_scheduled_run_is_named_by_its_night()
the_plugin_registers_the_timetable()
the_scheduler_forks_its_workers_from_a_keeper_of_these_modules()
print("all laws hold")  # noqa: T201 - the answer
