"""A client of TensorFlow Serving over gRPC and REST that imports no TensorFlow."""
