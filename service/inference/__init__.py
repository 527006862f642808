"""Frames in, probabilities out; knows nothing of HTTP."""
