"""Write the metrics of epochs as TensorBoard event files."""

import os
from dataclasses import asdict

import tensorflow as tf

from kmnist.metrics import Epoch

__all__ = ["EventWriter"]


class EventWriter:
    """Writer of one event file."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Create an event file in ``folder``, which is created if it does not exist."""
        self._writer = tf.summary.create_file_writer(os.fspath(folder))

    def write(self, epoch: Epoch) -> None:
        """Append the metrics of an epoch as scalars, the number of the epoch as their step."""
        # The record of tf.summary.scalar, which requires the TensorBoard package.
        plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
        metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)
        with self._writer.as_default(step=epoch.epoch):
            for name, value in asdict(epoch).items():
                if name != "epoch" and value is not None:
                    tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)
        self._writer.flush()
