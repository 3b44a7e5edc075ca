"""ZSDS: the science data system of a time-domain survey. The domain; it runs without Airflow."""

__version__ = "0.1.0"
