"""Ghosts and halos."""
