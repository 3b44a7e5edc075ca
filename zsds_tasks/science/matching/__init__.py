"""Detections become objects: matched to seeds of their unit, founding new ones, grouped over the sky."""
