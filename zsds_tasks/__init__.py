"""ZSDS: the science data system of a time-domain survey. The domain; it runs without Airflow."""

import os

__version__ = "0.1.0"

# ONNX Runtime's wheels report to their maker, from the import on; only this variable keeps them from it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
