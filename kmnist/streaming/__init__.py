"""Predict any number of images with bounded memory, several requests at a time, in order."""

from kmnist.streaming.stream import Batch, predict_stream

__all__ = ["Batch", "predict_stream"]
