"""TensorFlow Serving's protocol: messages, tensors, JSON, method paths, codes, warm-up files.

Shared by the client, the embedded server, the export and the doctor. Importing a module of this
package loads numpy and protobuf at most, never grpc or TensorFlow.
"""
