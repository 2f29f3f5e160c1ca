"""Training: the model, its batches, the training loop, evaluation, checkpoints and workers.

The modules import TensorFlow, except ``workers``, which does so on first use; the package does not.
"""
