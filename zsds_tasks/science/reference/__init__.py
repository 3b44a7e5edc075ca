"""Reference images: which epochs, how they are stacked, whether the result is good (reference section 5)."""
