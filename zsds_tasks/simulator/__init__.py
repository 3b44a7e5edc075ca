"""A camera under a sky that is known: raw frames with truth. The pipeline never imports it."""
