"""The switches: every effect of the sky and of the detector that can be turned off by itself."""

from __future__ import annotations

from zsds_tasks.declarations import Declaration


class Effects(Declaration):
    """One switch per effect; off means that its physics is left out and nothing else changes."""

    # the sky
    stars: bool = True
    galaxies: bool = True
    variables: bool = True  # off: they stay, at their mean light
    transients: bool = True
    asteroids: bool = True
    satellites: bool = True
    proper_motion: bool = True
    # air, telescope and optics
    clouds: bool = True
    moonlight: bool = True
    twilight: bool = True
    seeing_variation: bool = True
    differential_refraction: bool = True
    colour_terms: bool = True
    pointing_error: bool = True
    dithers: bool = True
    distortion: bool = True
    vignetting: bool = True
    psf_variation: bool = True
    ghosts: bool = True
    # the detector
    overscan: bool = True
    bias_structure: bool = True
    prnu: bool = True
    illumination: bool = True
    shutter: bool = True
    nonlinearity: bool = True
    saturation: bool = True
    bad_pixels: bool = True
    cosmic_rays: bool = True
    noise: bool = True
