"""Pixels to raw files, and files to the incoming folder, faults included."""
