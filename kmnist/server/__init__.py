"""The embedded server: TensorFlow Serving's two APIs on a machine without Docker.

One process serves one model. Status codes and messages are those of TensorFlow Serving, so that
code written against this server works in production. Batching and scheduling, which make
TensorFlow Serving fast, are not reproduced.
"""

from kmnist.server.server import Server

__all__ = ["Server"]
