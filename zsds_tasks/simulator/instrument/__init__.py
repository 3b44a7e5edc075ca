"""Telescope and camera: light to pixels, and everything a detector does to them."""
