"""The ``zsds`` command: every step by hand, with exit codes that mean something.

0 done; 1 a defect of ours; 2 wrong usage; 3 nothing to do; 4 unusable input or a failed check; 5 wrong
configuration; 75 the world is in the way, try again later (EX_TEMPFAIL).
"""

from __future__ import annotations

import sys

import typer

from zsds_tasks.cli import (
    alerts,
    lightcurves,
    objects,
    operate,
    pipeline,
    query,
    releases,
    simulate,
    tables,
    train,
)
from zsds_tasks.cli.console import fail
from zsds_tasks.errors import (
    ConfigurationError,
    NothingToDoError,
    TransientError,
    UnusableInputError,
    ZsdsError,
)

EXIT_CODES: dict[type[ZsdsError], int] = {
    NothingToDoError: 3,
    UnusableInputError: 4,
    ConfigurationError: 5,
    TransientError: 75,
}

app = typer.Typer(
    name="zsds",
    help="ZSDS: the science data system of a time-domain survey.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for room in (operate, simulate, pipeline, alerts, lightcurves, objects, query, releases, tables, train):
    room.register(app)


def main() -> None:
    """Run the command line; our errors become one readable line and an exit code."""
    try:
        app()
    except ZsdsError as error:
        fail(str(error))
        sys.exit(next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1))
