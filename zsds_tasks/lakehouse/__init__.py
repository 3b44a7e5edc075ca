"""Where things are kept: files, Delta tables, HATS publications. It knows schemas and no science."""

from zsds_tasks.lakehouse.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.lakehouse.transactions import Commit

__all__ = ["Commit", "Lakehouse", "Table", "open_lakehouse"]
