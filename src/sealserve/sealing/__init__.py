"""Gramine protected files over binary streams."""
