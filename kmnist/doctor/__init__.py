"""Diagnosis of a folder of versions or of a model server.

:func:`examine_folder` examines a folder of versions and the ``models.config`` beside it;
:func:`examine_server` examines a running server. Both return a :class:`Report` of checks with
their findings, each with its cause and its cure. The findings are those that are reported most
often to the issue tracker of TensorFlow Serving.
"""

from kmnist.doctor.folder import examine_folder
from kmnist.doctor.report import Finding, Report
from kmnist.doctor.server import examine_server

__all__ = ["Finding", "Report", "examine_folder", "examine_server"]
