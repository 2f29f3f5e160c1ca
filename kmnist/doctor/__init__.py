"""What is wrong with a served model, why that is, and what to do about it.

:func:`examine_folder` reads a folder of versions and the ``models.config`` beside it;
:func:`examine_server` asks a server. Each returns a :class:`Report` of checks, and each check of
what it found. The causes are those people report most to TensorFlow Serving's issue tracker.
"""

from kmnist.doctor.folder_checks import examine_folder
from kmnist.doctor.report import Check, Finding, Report
from kmnist.doctor.server_checks import examine_server

__all__ = ["Check", "Finding", "Report", "examine_folder", "examine_server"]
