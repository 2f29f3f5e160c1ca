"""Training: the model, its batches, the training loop, checkpoints and devices.

The modules import TensorFlow; this package itself does not.
"""
