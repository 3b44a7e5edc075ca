"""What must not be used of an image: every artefact gets its own bit of the mask."""
