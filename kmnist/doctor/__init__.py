"""Diagnosis of a folder of versions or of a model server.

:func:`examine_folder` examines a folder of versions and the ``models.config`` beside it;
:func:`examine_server` examines a running server. Both return a :class:`Report` of checks with
their findings. :func:`find_models` finds the names of a server's models. The causes are those that are reported most often to the issue tracker of
TensorFlow Serving.
"""

from kmnist.doctor.folder_checks import examine_folder
from kmnist.doctor.model_names import find_models
from kmnist.doctor.report import Check, Finding, Report
from kmnist.doctor.server_checks import examine_server

__all__ = ["Check", "Finding", "Report", "examine_folder", "examine_server", "find_models"]
