"""Where things lie below the root: every path a function, its template in the docstring.

Names of FITS products come from `zsds_tasks.survey.identifiers`; here they are only joined to their place.
"""

from __future__ import annotations

LAKE = "lake"
HATS = "hats"
QUARANTINE = "quarantine"
REPORTS = "reports"
RELEASES = "releases"
PRODUCTS = ("raw", "cal", "sci", "ref", "diff")
DERIVED = PRODUCTS[1:]  # what can be made again; raw frames cannot
"""Folders of FITS products, in the tree and with the file names of ZTF."""


def table(name: str) -> str:
    """``lake/<table>``: a Delta table."""
    return f"{LAKE}/{name}"


def collection(name: str) -> str:
    """``hats/<collection>``: all published versions of a collection."""
    return f"{HATS}/{name}"


def collection_version(name: str, version: int) -> str:
    """``hats/<collection>/v<N>``: one published version."""
    return f"{HATS}/{name}/v{version}"


def latest(name: str) -> str:
    """``hats/<collection>/latest``: a text file that names the current version, such as ``v12``."""
    return f"{HATS}/{name}/latest"


def publication(name: str, version: int) -> str:
    """``hats/<collection>/v<N>/publication.json``: what a version was made from, and whether it is whole."""
    return f"{collection_version(name, version)}/publication.json"


def publication_sources(name: str, version: int) -> str:
    """``hats/<collection>/v<N>/sources.json``: which file of the Delta table each leaf is a link to."""
    return f"{collection_version(name, version)}/sources.json"


def release(number: int) -> str:
    """``releases/dr<N>``: the folder of a release."""
    return f"{RELEASES}/dr{number}"


def release_file(number: int, name: str) -> str:
    """``releases/dr<N>/<name>``: a file of a release; ``release.json`` is written last of all."""
    return f"{release(number)}/{name}"


def product(kind: str, name: str) -> str:
    """``<kind>/<name>``: a FITS product; kind is one of `PRODUCTS`, name may hold folders."""
    if kind not in PRODUCTS:
        raise ValueError(f"unknown kind of product {kind!r}; known: {', '.join(PRODUCTS)}")
    return f"{kind}/{name}"


def quarantine(name: str) -> str:
    """``quarantine/<name>``: a refused file; its reason lies beside it, see `quarantine_reason`."""
    return f"{QUARANTINE}/{name}"


def quarantine_reason(name: str) -> str:
    """``quarantine/<name>.json``: why the file was refused."""
    return f"{QUARANTINE}/{name}.json"


def report(night: str, name: str) -> str:
    """``reports/<YYYYMMDD>/<name>``: a page or file of a night's report."""
    return f"{REPORTS}/{night}/{name}"
