"""Differencing: what changed between a science image and the reference of its field."""
