"""Splits of cubes that do not leak."""
