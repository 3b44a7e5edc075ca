"""Relative and survey-wide photometry: what each image's magnitudes are off by, and how far they scatter."""
