"""TensorFlow Serving's protocol: messages, tensors, method paths, status codes, warm-up files.

The client, the embedded server, the export and the doctor share it. Importing a module of this
package loads numpy and protobuf, but neither grpc nor TensorFlow.
"""
