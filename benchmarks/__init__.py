"""Figures of speed: each script is one run, measured as ratios within it."""
