"""Variability of light curves: statistics, periods, and which objects vary."""
