"""How the command line looks: one console, tables, progress that also reads well in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

LOG_EVERY_S = 10.0

LOG_WIDTH = 140  # off a terminal: wide enough for a file name and its reason on one line

console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
errors = Console(stderr=True, highlight=False)


def fail(sentence: str) -> None:
    """Print an error."""
    errors.print(Text("error: ", style="bold red") + Text(sentence))


def say(sentence: str) -> None:
    """Print a line."""
    console.print(sentence, markup=False, soft_wrap=True)


def show_rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left", header_style="bold", show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(table)


def show_facts(title: str, facts: Mapping[str, object]) -> None:
    """Print names and values, one pair a line."""
    console.print(Text(title, style="bold"))
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        console.print(f"  {name:<{width}}  {value}", markup=False, soft_wrap=True)


@contextmanager
def live_line() -> Iterator[Callable[[str], None]]:
    """Give a function that keeps one line up to date; off a terminal it prints one line now and then."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=8, transient=True) as live:
            yield lambda sentence: live.update(Text(sentence))
        return
    said_at, said = -LOG_EVERY_S, ""

    def occasionally(sentence: str) -> None:
        nonlocal said_at, said
        now = time.monotonic()
        if now - said_at >= LOG_EVERY_S and sentence != said:
            said_at, said = now, sentence
            say(sentence)

    yield occasionally
