"""From calibration frames to masters: overscan, bias, flats, bad pixels, and whether they may be used."""
