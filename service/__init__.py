"""Roadcue's service: tells which things are in a driving frame."""

import os

__version__ = "0.1.0"

# ONNX Runtime otherwise writes a device id and reports its use over the network, from its import on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
