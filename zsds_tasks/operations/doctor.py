"""The doctor: what is installed, what is reachable, what is misconfigured, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zsds_tasks.errors import ZsdsError
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.operations.installation import Installation
from zsds_tasks.operations.stack import Stack
from zsds_tasks.products.tables import list_tables, load_table
from zsds_tasks.settings import REPOSITORY, Settings
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.fields import load_fields
from zsds_tasks.survey.headers import load_headers
from zsds_tasks.survey.survey import load_survey

GIBIBYTE = 1 << 30
LOW_DISK_GIB = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing the doctor looked at.

    Parameters
    ----------
    subject : str
        What was looked at.
    ok : bool
        Whether it is well.
    detail : str
        What was found; where it is not well, what to do.
    """

    subject: str
    ok: bool
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; never raises for what it finds."""
    checks: tuple[tuple[str, Callable[[Settings], Iterator[Finding]]], ...] = (
        ("python", _python),
        ("packages", _packages),
        ("declarations", _declarations),
        ("camera", _camera),
        ("storage", _storage),
        ("disk", _disk),
        ("services", _services),
    )
    findings: list[Finding] = []
    for subject, check in checks:
        try:
            findings.extend(check(settings))
        except ZsdsError as error:
            findings.append(Finding(subject, ok=False, detail=str(error)))
    return findings


def _python(_: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info[:2] == (3, 11)
    yield Finding("python", ok, version if ok else f"{version}; ZSDS needs 3.11: run `make install`")


def _packages(_: Settings) -> Iterator[Finding]:
    wrong = []
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    locked = dict(line.strip().split("==") for line in lines if "==" in line)
    for name, version in locked.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "absent"
        if installed != version:
            wrong.append(f"{name} {installed} instead of {version}")
    detail = "; ".join(wrong[:5]) + "; run `make install`" if wrong else f"{len(locked)} as locked"
    yield Finding("packages", not wrong, detail)


def _declarations(settings: Settings) -> Iterator[Finding]:
    names = list_tables(settings.include)
    for name in names:
        load_table(name, settings.include)
    yield Finding("declarations", ok=True, detail=f"{len(names)} tables: {', '.join(names)}")


def _camera(settings: Settings) -> Iterator[Finding]:
    camera = load_camera(settings.camera, settings.include)
    load_survey(camera.survey, settings.include)
    load_headers(camera.headers, settings.include)
    fields = load_fields(camera.fields, settings.include)
    yield Finding(
        "camera", ok=True, detail=f"{camera.name}: {camera.n_quadrants} quadrants, {len(fields.by_id)} fields"
    )


def _storage(settings: Settings) -> Iterator[Finding]:
    lakehouse = open_lakehouse(settings)
    probe = "lake/.doctor"
    lakehouse.storage.put_bytes_atomically(b"zsds", probe)
    lakehouse.storage.delete(probe)
    filled = [f"{t.name} v{t.version()} {t.count()} rows" for t in lakehouse.tables() if t.exists()]
    yield Finding("storage", ok=True, detail=f"{settings.root_uri}: {', '.join(filled) or 'no tables yet'}")


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.var
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / GIBIBYTE
    ok = free > LOW_DISK_GIB
    yield Finding("disk", ok, f"{free:.1f} GiB free under {folder}" + ("" if ok else "; make room"))


def _services(settings: Settings) -> Iterator[Finding]:
    stack = Stack(Installation(settings))
    running = stack.running()
    if not running:
        yield Finding("services", ok=True, detail="not running; `make up` starts Airflow and Ray")
    elif stack.is_up:
        yield Finding("services", ok=True, detail=f"Airflow at {stack.url}, Ray at {stack.ray_address}")
    else:
        detail = f"only {', '.join(running)} run; `make down`, then `make up`"
        yield Finding("services", ok=False, detail=detail)
    if settings.truth_folder.exists():
        nights = sorted(path.name for path in settings.truth_folder.iterdir() if path.is_dir())
        yield Finding("simulation", ok=True, detail=f"truth of {json.dumps(nights)[:120]}")


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below a folder, each hard-linked file once."""
    seen: dict[int, int] = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            stat = path.stat()
            seen[stat.st_ino] = stat.st_size
    return sum(seen.values())
