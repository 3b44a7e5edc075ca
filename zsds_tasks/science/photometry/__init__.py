"""Photometry: from an image without sky to sources with calibrated magnitudes."""
