"""Training: the model, its batches, the training loop, evaluation, checkpoints and devices.

The modules import TensorFlow; the package itself does not.
"""
