"""Candidates: what changed on the sky, found and measured on a difference image."""
