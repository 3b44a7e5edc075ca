"""What a release says about itself in words: citation metadata, its data dictionary, its list of changes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from zsds_tasks.lakehouse.differences import TableDifference
from zsds_tasks.lakehouse.release_config import Creator, ReleasesConfig
from zsds_tasks.lakehouse.releases import Release, ReleasedTable

SHOWN_CAUSES, SHOWN_COLUMNS = 12, 20
DATACITE_SCHEMA = "http://datacite.org/schema/kernel-4"
PARQUET = "application/vnd.apache.parquet"


def datacite(release: Release, config: ReleasesConfig) -> dict[str, Any]:
    """Return the metadata under which a DOI can be registered: the JSON form of DataCite's kernel 4.

    Parameters
    ----------
    release : Release
    config : ReleasesConfig

    Returns
    -------
    dict
        Whole but for ``doi`` and ``url``, which whoever registers it adds.
    """
    rows = sum(table.rows for table in release.tables.values())
    dates = [{"date": release.created.date().isoformat(), "dateType": "Created"}]
    if release.first_night:
        first, last = (_iso(night) for night in (release.first_night, release.last_night))
        dates.append({"date": f"{first}/{last}", "dateType": "Collected"})
    told: dict[str, Any] = {
        "schemaVersion": DATACITE_SCHEMA,
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": "Astronomical catalogue"},
        "titles": [{"title": release.title}],
        "creators": [_creator(one) for one in config.creators],
        "publisher": {"name": config.publisher},
        "publicationYear": str(release.created.year),
        "version": release.name,
        "language": "en",
        "dates": dates,
        "subjects": [{"subject": word} for word in config.subjects],
        "descriptions": [{"description": release.description, "descriptionType": "Abstract"}],
        "rightsList": [
            {
                "rights": config.rights,
                "rightsUri": config.rights_uri,
                "rightsIdentifier": config.rights_identifier,
                "rightsIdentifierScheme": "SPDX",
                "schemeUri": "https://spdx.org/licenses/",
            }
        ],
        "formats": [PARQUET],
        "sizes": [f"{sum(table.bytes for table in release.tables.values())} bytes", f"{rows} rows"],
    }
    return told


def _creator(creator: Creator) -> dict[str, Any]:
    told: dict[str, Any] = {"name": creator.name, "nameType": creator.kind}
    if creator.kind == "Personal" and ", " in creator.name:
        told["familyName"], told["givenName"] = creator.name.split(", ", 1)
    if creator.affiliation:
        told["affiliation"] = [{"name": creator.affiliation}]
    if creator.orcid:
        told["nameIdentifiers"] = [
            {
                "nameIdentifier": f"https://orcid.org/{creator.orcid}",
                "nameIdentifierScheme": "ORCID",
                "schemeUri": "https://orcid.org",
            }
        ]
    return told


def _iso(night: str) -> str:
    return f"{night[:4]}-{night[4:6]}-{night[6:]}"


def describe_release(release: Release) -> str:
    """Return the data dictionary of a release, as released, in Markdown."""
    nights = f"Nights {release.first_night} to {release.last_night}. " if release.first_night else ""
    lines = [
        f"# {release.title}",
        "",
        release.description,
        "",
        f"Made {release.created:%Y-%m-%d %H:%M} UTC by zsds {release.code_version}. {nights}".rstrip(),
        "",
        "| table | as | rows | files | bytes | key |",
        "|---|---|---|---|---|---|",
        *(_row_of(table) for table in release.tables.values()),
        "",
        *(f"Left out: {name}, which {reason}." for name, reason in release.left_out.items()),
    ]
    return "\n".join([*lines, *(_columns_of(table) for table in release.tables.values())]).rstrip() + "\n"


def _row_of(table: ReleasedTable) -> str:
    shape = f"HATS, v{table.publication}" if table.publication else "Parquet"
    keys = ", ".join(f"`{name}`" for name in table.key)
    return f"| {table.name} | {shape} | {table.rows} | {table.files} | {table.bytes} | {keys} |"


def _columns_of(table: ReleasedTable) -> str:
    rows = []
    for column in table.columns:
        type_ = f"{column.type}, *null*" if column.nullable else column.type
        ucd = f"`{column.ucd}`" if column.ucd else ""
        cells = (f"`{column.name}`", type_, column.unit, column.description, ucd)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    head = [
        "",
        f"## {table.name}",
        "",
        "| column | type | unit | description | UCD |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


def describe_changes(
    release: str,
    previous: str,
    differences: Sequence[TableDifference],
    gained: Mapping[str, int],
    lost: Sequence[str],
    unknown: Mapping[str, str],
) -> str:
    """Return what changed against the previous release, in Markdown.

    Parameters
    ----------
    release, previous : str
        Names; the latter empty for a first release.
    differences : sequence of TableDifference
        Of tables that both have.
    gained : mapping of str to int
        Tables that the previous one did not have, with their rows.
    lost : sequence of str
        Tables that this one does not have any more.
    unknown : mapping of str to str
        Tables that could not be compared, with the reason.
    """
    lines = [f"# {release}: changes since {previous}" if previous else f"# {release}: the first release", ""]
    lines += [f"- `{name}` is new: {rows} rows." for name, rows in gained.items()]
    lines += [f"- `{name}` is not part of it any more." for name in lost]
    lines += [f"- `{name}` could not be compared: {reason}" for name, reason in unknown.items()]
    for found in differences:
        lines += ["", f"## {found.table}", "", *describe_difference(found)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def describe_difference(found: TableDifference) -> list[str]:
    """Return what changed in one table, in lines of Markdown."""
    if found.is_empty:
        return [f"Nothing: the same {found.rows_after} rows."]
    rows = f"{found.rows_before} rows before, {found.rows_after} after"
    lines = [f"{rows}: {found.added} added, {found.removed} removed, {found.changed} changed.", ""]
    for word, names in (
        ("Columns added", found.columns_added),
        ("Columns removed", found.columns_removed),
        ("Columns of another type", found.columns_altered),
    ):
        if names:
            lines += [f"{word}: {', '.join(f'`{name}`' for name in names)}.", ""]
    if found.columns:
        lines += ["| column | rows changed | largest change |", "|---|---|---|"]
        for column in found.columns[:SHOWN_COLUMNS]:
            largest = "" if column.largest is None else f"{column.largest:.6g}"
            lines.append(f"| `{column.name}` | {column.changed} | {largest} |")
        lines += [*_more(len(found.columns), SHOWN_COLUMNS), ""]
    if found.causes:
        lines += [f"Explained {found.explained}:", ""]
        lines += ["| cause | before | after | added | removed | changed |", "|---|---|---|---|---|---|"]
        for one in found.causes[:SHOWN_CAUSES]:
            counts = f"{one.added} | {one.removed} | {one.changed}"
            lines.append(f"| {one.kind} | {one.before} | {one.after} | {counts} |")
        lines += [*_more(len(found.causes), SHOWN_CAUSES), ""]
    elif found.added or found.removed or found.changed:
        lines += [f"Not explained: {found.explained}.", ""]
    if found.nights:
        told = (
            f"{night} ({n[0]} + {n[1]} + {n[2]})" for night, n in list(found.nights.items())[-SHOWN_CAUSES:]
        )
        lines += [f"Nights (rows added + removed + changed): {', '.join(told)}.", ""]
    return lines


def _more(count: int, shown: int) -> list[str]:
    return ["", f"... and {count - shown} more."] if count > shown else []
