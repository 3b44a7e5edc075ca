"""From settings to the storage they name."""

from __future__ import annotations

import re

from zsds_tasks.errors import ConfigurationError
from zsds_tasks.lakehouse.local_storage import LocalStorage
from zsds_tasks.lakehouse.object_storage import ObjectStorage
from zsds_tasks.lakehouse.storage import Storage
from zsds_tasks.settings import Settings, load_settings


def open_storage(root: str | None = None, settings: Settings | None = None) -> Storage:
    """Return the storage at a root, or at the installation's own.

    Parameters
    ----------
    root : str, optional
        A folder or an ``s3://`` URI; by default that of the settings.
    settings : Settings, optional
        By default those of the environment.

    Returns
    -------
    Storage

    Raises
    ------
    ConfigurationError
        If the root is a URI of another kind.
    """
    settings = settings or load_settings()
    root = root or settings.root_uri
    if root.startswith("s3://"):
        return ObjectStorage(root, settings)
    if re.match(r"^[a-z][a-z0-9+.-]*://", root):
        raise ConfigurationError(
            "is neither a folder nor an s3:// URI", subject=root, remedy="set ZSDS_ROOT to one of these"
        )
    return LocalStorage(root)
