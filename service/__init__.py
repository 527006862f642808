"""Roadcue's service: tells which things are in a driving frame."""

__version__ = "0.1.0"
