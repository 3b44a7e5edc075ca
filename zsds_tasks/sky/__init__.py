"""Angles in, angles out."""
