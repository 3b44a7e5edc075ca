"""Forced photometry: flux at a given place of a difference image, whether or not anything was detected."""
