"""The embedded server: TensorFlow Serving's two APIs for a machine that has no Docker.

One process, one model. It answers as TensorFlow Serving does, status codes and messages included,
so that what is written against it works in production; what makes TensorFlow Serving fast, its
batching and scheduling, is left to TensorFlow Serving.
"""

from kmnist.server.server import Server

__all__ = ["Server"]
