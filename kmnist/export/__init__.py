"""Export of a trained model as a version folder: SavedModel, signatures, model card, plots.

The modules import TensorFlow; this package does not.
"""
