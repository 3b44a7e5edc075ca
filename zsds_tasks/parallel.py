"""Map a function over many inputs on every core: the one place that knows Ray.

One worker means a plain loop in this process (debuggers, tests, notebooks), and fewer than two inputs wake
nobody: workers cost seconds before they begin, so steps for which nobody waits first do that much without.
Otherwise a cluster is joined by its address, or a local one is started for the life of this process. Every
worker computes with one thread (a cluster that is joined must have been started with `ONE_THREAD` in its
environment, as ours are: asking for it per job costs 5 s), and no more than a few inputs per worker are in
flight, so that memory is bounded by what a worker needs.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TypeVar

from zsds_tasks.errors import TransientError
from zsds_tasks.settings import Settings, load_settings

Item = TypeVar("Item")
Result = TypeVar("Result")

IN_FLIGHT_PER_WORKER = 2
PATIENCE_S = 5.0
"""About what waking workers takes: they import as much as a step does. What is done sooner needs none."""
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Keeps every Ray process of this machine to itself.

Ray takes 127.0.0.1 for the machine's outward address and then listens on all interfaces, except where it
believes that there are no clusters. Heads and those who join them must agree; read when ray is imported.
"""


def worker_count(settings: Settings | None = None) -> int:
    """Return how many workers to use: the setting, or one per core this process may run on."""
    settings = settings or load_settings()
    return settings.workers or len(os.sched_getaffinity(0))


def map_ordered(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,
    settings: Settings | None = None,
    patience_s: float = 0.0,
) -> Iterator[Result]:
    """Apply `function` to each item on many cores; yield the results in the order of the items.

    Parameters
    ----------
    function : callable
        Importable by name and picklable with its bound arguments (a plain function or a `functools.partial`).
    items : iterable
        Small, picklable inputs: identifiers and paths, not pixels. Consumed lazily.
    workers : int, optional
        How many at once; default `worker_count`. One means a loop in this process, as does a single item.
    settings : Settings, optional
        Default: the environment's.
    patience_s : float
        Work in this process for so long before workers are woken; see `PATIENCE_S`. What a night's exposures
        wait for has none.

    Yields
    ------
    object
        ``function(item)``.

    Raises
    ------
    TransientError
        If a worker died (killed, out of memory) more often than its retry allows.
    Exception
        Whatever `function` raised, with its own type.
    """
    settings = settings or load_settings()
    count, source = workers or worker_count(settings), iter(items)
    ahead = deque(islice(source, min(count, 2)))
    spent = 0.0
    while ahead and (count == 1 or len(ahead) < 2 or spent < patience_s):
        began = time.monotonic()
        result = function(ahead.popleft())
        spent += time.monotonic() - began
        yield result
        ahead.extend(islice(source, 1))
    if ahead:
        yield from _map_on_ray(function, chain(ahead, source), count, settings)


def _map_on_ray(
    function: Callable[[Item], Result], items: Iterable[Item], count: int, settings: Settings
) -> Iterator[Result]:
    if settings.ray_address.partition(":")[0] in {"", "localhost", "127.0.0.1"}:
        os.environ.update(LOOPBACK_ONLY)
    import ray  # noqa: PLC0415 - a second of import that a one-worker run need not pay

    _join_cluster(ray, settings)
    remote = ray.remote(num_cpus=1, max_retries=1)(_call)
    shared = ray.put(function)
    pending: deque[Any] = deque()
    source = iter(items)
    exhausted = False
    try:
        while pending or not exhausted:
            while not exhausted and len(pending) < count * IN_FLIGHT_PER_WORKER:
                try:
                    pending.append(remote.remote(shared, next(source)))
                except StopIteration:
                    exhausted = True
            if pending:
                yield _result(ray, pending.popleft())
    finally:
        for reference in pending:
            ray.cancel(reference, force=False)


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        raise (cause if isinstance(cause, Exception) else error) from error
    except (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.NodeDiedError,
    ) as error:
        raise TransientError(
            f"a parallel worker died: {type(error).__name__}",
            remedy="run again; if it repeats, lower ZSDS_WORKERS so that each has more memory",
        ) from error


def _join_cluster(ray: Any, settings: Settings) -> None:
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's future default, asked for now: it stops a warning about accelerator variables.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    common: dict[str, Any] = {
        "logging_level": logging.ERROR,  # its warnings are about its own signal handlers
        "log_to_driver": False,
    }
    try:
        if settings.ray_address:
            ray.init(address=settings.ray_address, **common)
        else:
            with _environment(ONE_THREAD):  # inherited by the workers of the cluster that starts here
                ray.init("local", num_cpus=worker_count(settings), include_dashboard=False, **common)
    except (TypeError, ValueError):
        raise  # an address or option that is none will be none next time
    except Exception as error:
        # RuntimeError: no Ray node runs on this machine, and a driver cannot do without. Exception itself: a
        # node that takes too long to start, on a machine that is busy.
        raise TransientError(
            f"cannot join the Ray cluster: {error}",
            subject=settings.ray_address or "local Ray",
            remedy="start it and a node of it on this machine (`make up` does), or unset ZSDS_RAY_ADDRESS",
        ) from error


@contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
