from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from zsds_tasks.errors import TransientError, UnusableInputError
from zsds_tasks.parallel import map_ordered, worker_count


def double(number: int) -> int:
    return 2 * number


def refuse(number: int) -> int:
    raise UnusableInputError("odd", subject=f"{number}.fits", number=number)


def die(_: int) -> int:
    os._exit(1)


def process_of(_: int) -> int:
    return os.getpid()


def slow_process_of(_: int) -> int:
    time.sleep(0.1)
    return os.getpid()


def threads(_: int) -> str:
    return os.environ["OMP_NUM_THREADS"]


@pytest.fixture(scope="module", autouse=True)
def _ray_of_this_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers import the functions above by name
        yield
    import ray

    ray.shutdown()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves sockets to the garbage collector
def test_results_come_in_the_order_of_the_items(settings, workers):
    settings = settings.model_copy(update={"workers": workers})
    assert list(map_ordered(double, range(20), settings=settings)) == [2 * n for n in range(20)]
    assert list(map_ordered(double, [], settings=settings)) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_who_is_patient_wakes_no_worker_for_little_and_some_for_the_rest(settings):
    two = settings.model_copy(update={"workers": 2})
    here = os.getpid()
    assert set(map_ordered(process_of, range(9), settings=two, patience_s=60.0)) == {here}
    found = list(map_ordered(slow_process_of, range(9), settings=two, patience_s=0.25))
    done_here = found.count(here)
    assert 1 <= done_here <= 3
    assert here not in found[done_here:]
    assert list(map_ordered(double, range(9), settings=two, patience_s=1e-9)) == [2 * n for n in range(9)]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_keeps_its_type_and_its_facts(settings, workers):
    with pytest.raises(UnusableInputError, match=r"3\.fits: odd") as caught:
        list(
            map_ordered(refuse, [3, 5], workers=workers, settings=settings.model_copy(update={"workers": 2}))
        )
    assert caught.value.facts == {"number": 3}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_dead_worker_is_a_transient_error(settings):
    with pytest.raises(TransientError, match="worker died"):
        list(map_ordered(die, [1, 2], workers=2, settings=settings.model_copy(update={"workers": 2})))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_workers_compute_with_one_thread(settings):
    two = settings.model_copy(update={"workers": 2})
    assert set(map_ordered(threads, range(4), workers=2, settings=two)) == {"1"}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_local_ray_listens_on_loopback_only(settings):
    two = settings.model_copy(update={"workers": 2})
    assert list(map_ordered(double, [1, 2], workers=2, settings=two)) == [2, 4]
    listening = {
        connection.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


@pytest.mark.parametrize("items", [[], [3]])
def test_nothing_and_a_single_item_wake_no_worker(settings, items):
    nowhere = settings.model_copy(update={"workers": 2, "ray_address": "127.0.0.1:1"})  # no cluster to join
    assert list(map_ordered(process_of, iter(items), settings=nowhere)) == [os.getpid()] * len(items)


def test_items_are_consumed_lazily(settings):
    taken = []

    def source():
        for number in range(1000):
            taken.append(number)
            yield number

    results = map_ordered(partial(double), source(), workers=1, settings=settings)
    assert next(results) == 0
    assert len(taken) == 1


def test_the_setting_decides_how_many(settings):
    assert worker_count(settings.model_copy(update={"workers": 3})) == 3
    assert worker_count(settings.model_copy(update={"workers": 0})) == len(os.sched_getaffinity(0))
