"""Check the catalogues of all nights: stars, epochs, light curves, objects, and that they are of each other.

They are looked at in parts that fit into memory; what the parts show is put together by expectation. A failed
critical expectation is recorded and shown, and then raised, so that nothing is published or released.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from zsds_tasks.errors import NothingToDoError, UnusableInputError
from zsds_tasks.lakehouse import Lakehouse, paths
from zsds_tasks.lakehouse.checks import Finding, TableCheck, check_rows
from zsds_tasks.lakehouse.datadocs import INDEX, verdict
from zsds_tasks.lakehouse.findings import put_together, with_findings
from zsds_tasks.lakehouse.suites import Expected, handwritten_suite
from zsds_tasks.settings import Settings, load_settings
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.catalog_parts import IMAGES, KEY, Catalogs, Part, parts_of_units
from zsds_tasks.steps.check_results import CheckSummary, raise_if_critical, record
from zsds_tasks.steps.lightcurves.configuration import load_lightcurves_config
from zsds_tasks.steps.lightcurves.work import unit_work
from zsds_tasks.steps.night_rows import stored
from zsds_tasks.steps.object_parts import DUE_CURVES, DUE_PIXELS, parts_of_pixels
from zsds_tasks.steps.objects.configuration import load_objects_config
from zsds_tasks.steps.objects.pixels import name_of
from zsds_tasks.steps.objects.work import curves_work, pixel_work
from zsds_tasks.survey.camera import QUADRANTS_PER_CCD, load_camera
from zsds_tasks.survey.survey import load_survey

CATALOGS = "catalogs"
"""Stands for the night in results and pages."""
BY_UNIT = (
    "seeds", "epochs", "lightcurves", "photometric_offsets", "matched_units", "measured_units",
    "survey_offsets",
)  # fmt: skip
BY_PIXEL = ("lightcurve_statistics", "objects", "object_pixels")
_BESIDE = (IMAGES, "sources", "references")
DUE_UNITS = "due_units"
WORK_DONE = "expect_work_list_to_be_done"
ROWS_AT_ONCE = 2_000_000
_WORK_LISTS = {
    DUE_UNITS: ("matched_units", "Every field, filter and channel with images has light curves"),
    DUE_CURVES: ("measured_units", "The light curves of every field, filter and channel were measured"),
    DUE_PIXELS: ("object_pixels", "The stars of every pixel were made objects"),
}
_NAMED = 3

logger = logging.getLogger(__name__)


def check_catalogs(
    lakehouse: Lakehouse,
    *,
    settings: Settings | None = None,
    names: Sequence[str] = (),
    fields: Sequence[int] | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
    progress: Progress | None = None,
) -> CheckSummary:
    """Check the tables of light curves and objects, and that each is of the others.

    Rows that are to be made anew (see `unit_work`, `curves_work`, `pixel_work`) may be behind the tables that
    they are made of; that there are such is a warning.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings, optional
        By default those of the environment.
    names : sequence of str, optional
        Only these tables.
    fields : sequence of int, optional
        Only rows of these fields; of tables whose rows are of a field.
    rows_at_once : int
        Rows of a table looked at together; bounds the memory.
    progress : callable, optional
        Called with what was done, how many, of how many.

    Returns
    -------
    CheckSummary
        Recorded, and shown under ``reports/catalogs/checks``, only if all tables and fields were looked at.

    Raises
    ------
    NothingToDoError
        If the tables have no rows.
    UnusableInputError
        If a critical expectation fails; results and pages are written first. If a name is of no catalogue.
    """
    settings = settings or load_settings()
    chosen = _chosen(names)
    if fields is not None and not set(chosen) & set(BY_UNIT):
        raise UnusableInputError(
            f"{', '.join(chosen)}: of stars of the whole sky, not of a field",
            subject="check of catalogues",
            remedy="leave the fields out",
        )
    catalogs = _catalogs(lakehouse, settings)
    work = _parts(catalogs, settings, chosen, rows_at_once, fields)
    if not work:
        of_these = " of these tables and fields" if names or fields is not None else ""
        raise NothingToDoError(f"the catalogues have no rows{of_these}", subject=CATALOGS)
    constants = _constants(settings)
    found: dict[str, list[TableCheck]] = {name: [] for name in chosen}
    for done, (part, tables) in enumerate(work, start=1):
        for check in _check_part(catalogs, part, tables, constants):
            found[check.table].append(check)
        if progress:
            progress("parts", done, len(work))
    whole = not names and fields is None
    checks = tuple(_put_together(found, _undone(catalogs) if whole else {}))
    page = paths.report(CATALOGS, f"checks/{INDEX}") if whole else ""
    summary = CheckSummary(CATALOGS, checks, page, catalogs.versions)
    if whole:
        record(lakehouse, summary)
    logger.info("catalogues: %s", verdict(summary.findings))
    raise_if_critical(lakehouse, summary)
    return summary


def _chosen(names: Sequence[str]) -> tuple[str, ...]:
    known = (*BY_UNIT, *BY_PIXEL)
    if unknown := sorted(set(names) - set(known)):
        raise UnusableInputError(
            f"no catalogue: {', '.join(unknown)}",
            subject="check of catalogues",
            remedy=f"name some of {', '.join(known)}",
        )
    return tuple(name for name in known if not names or name in names)


def _catalogs(lakehouse: Lakehouse, settings: Settings) -> Catalogs:
    versions = {name: lakehouse.table(name).version() for name in (*BY_UNIT, *BY_PIXEL, *_BESIDE)}
    objects = load_objects_config(settings.include)
    units = [work.key for work in unit_work(lakehouse, load_lightcurves_config(settings.include))]
    curves = [work.key for work in curves_work(lakehouse, objects)]
    late = {name_of(work.pixel) for work in pixel_work(lakehouse, settings, objects.pixels)}
    # Units that are to be measured again make their pixels due, but are not known to them yet.
    measured = lakehouse.table("measured_units").read([*KEY, "pixels"]).to_pylist()
    again = set(curves)
    late |= {name for row in measured if tuple(row[k] for k in KEY) in again for name in row["pixels"]}
    return Catalogs(
        lakehouse,
        versions,
        {
            DUE_UNITS: _keys(units),
            DUE_CURVES: _keys(curves),
            DUE_PIXELS: pa.table({"pixel": pa.array(sorted(late), pa.int64())}),
        },
    )


def _keys(units: Sequence[tuple[int, int, int]]) -> pa.Table:
    columns = zip(*units, strict=True) if units else ((), (), ())
    return pa.table({name: pa.array(list(c), pa.int64()) for name, c in zip(KEY, columns, strict=True)})


def _parts(
    catalogs: Catalogs,
    settings: Settings,
    chosen: Sequence[str],
    rows_at_once: int,
    fields: Sequence[int] | None,
) -> list[tuple[Part, tuple[str, ...]]]:
    """Return parts, each with the tables that are checked in it."""
    units = tuple(name for name in BY_UNIT if name in chosen)
    pixels = tuple(name for name in BY_PIXEL if name in chosen)
    work: list[tuple[Part, tuple[str, ...]]] = []
    if units:
        work += [(part, units) for part in parts_of_units(catalogs, BY_UNIT, rows_at_once, fields)]
    if pixels and fields is None:
        config = load_objects_config(settings.include).pixels
        drift = catalogs.read("measured_units", ["drift_arcsec"], {})["drift_arcsec"].to_pylist()
        survey = load_survey(load_camera(settings.camera, settings.include).survey, settings.include)
        has = catalogs.lakehouse.table("objects").declaration.names
        bands = {band.name: band.fid for band in survey.filters if f"{band.name}_nobs" in has}
        reach = config.reach_arcsec + max(drift, default=0.0)
        found = parts_of_pixels(catalogs, config.healpix_order, reach, bands, rows_at_once)
        work += [(part, pixels) for part in found]
    return work


def _constants(settings: Settings) -> dict[str, Any]:
    return {
        "quadrants_per_ccd": QUADRANTS_PER_CCD,
        "match_radius_arcsec": load_lightcurves_config(settings.include).matching.radius_arcsec,
        "group_radius_arcsec": load_objects_config(settings.include).pixels.grouping.radius_arcsec,
    }


def _check_part(
    catalogs: Catalogs, part: Part, names: Sequence[str], constants: Mapping[str, Any]
) -> list[TableCheck]:
    """Check the rows of a part in each table that has any."""
    suites = {name: handwritten_suite(name, catalogs.lakehouse.include) for name in names}
    needed: dict[str, set[str]] = {}
    for suite in suites.values():
        for lookup in suite.meta.lookups:
            needed.setdefault(lookup.table, set()).update(lookup.there)
    others = {name: part.read(name, sorted(columns)) for name, columns in needed.items()}
    checks = []
    for name, suite in suites.items():
        table = catalogs.lakehouse.table(name)
        rows = part.read(name, stored(table))
        if rows.num_rows:
            version = catalogs.versions[name] or 0
            checks.append(
                check_rows(
                    rows, table.declaration, suite, version=version, constants=constants, others=others
                )
            )
    return checks


def _undone(catalogs: Catalogs) -> dict[str, Finding]:
    """Return by table whether all that there is to be made has a row there."""
    found = {}
    for name, (table, sentence) in _WORK_LISTS.items():
        due = catalogs.due[name]
        key = tuple(due.schema.names)
        known = set(catalogs.tally(table, key))
        missing = [row for row in zip(*(due[k].to_pylist() for k in key), strict=True) if row not in known]
        expected = Expected(
            type=WORK_DONE, kwargs={}, severity="warning", description=sentence, origin="comparison"
        )
        such = "; ".join(_words(key, row) for row in missing[:_NAMED])
        observed = f"{len(missing)} are missing, such as {such}" if missing else None
        rows = len(known) + len(missing)
        found[table] = Finding(
            expected, success=not missing, rows=rows, unexpected=len(missing), observed=observed
        )
    return found


def _words(key: Sequence[str], row: Sequence[int]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in zip(key, row, strict=True))


def _put_together(
    found: Mapping[str, Sequence[TableCheck]], undone: Mapping[str, Finding]
) -> Iterable[TableCheck]:
    for name, checks in found.items():
        more = [undone[name]] if name in undone else []
        if checks:
            yield with_findings(put_together(checks), more)
        elif more and not more[0].success:
            yield TableCheck(name, 0, 0, tuple(more))
