"""The lakehouse of an installation: its storage and its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.publish import PublishedCatalog, publish
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.products.tables import TableDeclaration, list_tables, load_table
from zsds_tasks.settings import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from zsds_tasks.lakehouse.storage import Storage


class Lakehouse:
    """Storage and declared tables.

    Parameters
    ----------
    storage : Storage
    include : Path
        The folder ``include`` with the declarations.
    """

    def __init__(self, storage: Storage, include: Path) -> None:
        self.storage = storage
        self.include = include

    def table(self, declared: str | TableDeclaration) -> Table:
        """Return a table by its name or by a declaration at hand; nothing is read or made yet.

        Raises
        ------
        DeclarationError
            If the name is not declared or the declaration is wrong.
        """
        if isinstance(declared, str):
            declared = load_table(declared, self.include)
        return Table(self.storage, declared)

    def publish(self, name: str) -> PublishedCatalog:
        """Publish a table to HATS; see `zsds_tasks.lakehouse.publish.publish`."""
        return publish(self.table(name))

    def tables(self) -> list[Table]:
        """Return every declared table, written or not."""
        return [self.table(name) for name in list_tables(self.include)]


def open_lakehouse(settings: Settings | None = None) -> Lakehouse:
    """Return the lakehouse that settings describe, by default those of the environment."""
    settings = settings or load_settings()
    return Lakehouse(open_storage(settings=settings), settings.include)
