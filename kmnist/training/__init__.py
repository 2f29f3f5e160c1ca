"""Training: the model, its batches, the training loop, evaluation, checkpoints, devices and workers.

The modules import TensorFlow, except ``cluster``; the package itself does not.
"""
