"""Roadcue's training: labelled frames from many sources in, one self-describing ONNX file out."""
