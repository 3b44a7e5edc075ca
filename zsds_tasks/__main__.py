"""``python -m zsds_tasks`` is the ``zsds`` command."""

from zsds_tasks.cli import main

main()
