"""Typed things that pass between rooms: tables and their declarations, raw frames, provenance."""
