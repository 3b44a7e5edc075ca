"""Arrays in, arrays out: it has never heard of a camera."""
