"""Reference images: which epochs, the co-add with its catalogues, and their rows."""

from zsds_tasks.steps.references.configuration import ReferencesConfig, load_references_config
from zsds_tasks.steps.references.run import ReferencesSummary, build_references
from zsds_tasks.steps.references.work import ReferenceWork, reference_work

__all__ = [
    "ReferenceWork",
    "ReferencesConfig",
    "ReferencesSummary",
    "build_references",
    "load_references_config",
    "reference_work",
]
