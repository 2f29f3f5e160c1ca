"""The command line of TensorFlow Serving's binary for a folder of versions on this machine.

Run as a module, it keeps the configuration of a running binary in step with ``models.config``.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from google.protobuf import text_format

from kmnist.errors import KmnistError, MissingError
from kmnist.files import replacing
from kmnist.protocol.models_config_pb2 import ModelServerConfig
from kmnist.server.metrics import METRICS_PATH
from kmnist.versions import config_path, read_model_config

__all__ = ["command_line"]

_MONITORING: Final = f'prometheus_config {{ enable: true path: "{METRICS_PATH}" }}\n'
# How often models.config is read here, and its copy by the binary, which logs a line each time.
_SECONDS: Final = 1.0
_BINARY_SECONDS: Final = 10
_log = logging.getLogger(__name__)


def command_line(
    binary: str,
    base: Path,
    *,
    name: str | None,
    grpc_port: int,
    rest_port: int,
    timeout: float,
    concurrency: int,
) -> list[str]:
    """Return the command line that serves the model as the embedded server does.

    ``models.config`` contains the path of the model in a container, so the binary gets a copy with
    the path on this machine, in a temporary folder. For as long as this process runs, whose place
    the binary is to take by ``exec``, another one updates the copy; then it deletes the folder.

    Args:
        binary: The path of ``tensorflow_model_server``.
        base: The folder of versions.
        name: The model name of requests; None for the name of the folder.
        grpc_port: The port of the gRPC API.
        rest_port: The port of the REST API.
        timeout: Seconds after which a REST request is abandoned.
        concurrency: The number of requests that are processed at a time, for each transport.

    Returns:
        The path of the binary and its flags.

    Raises:
        InputError: The ``models.config`` beside ``base`` is invalid.
    """
    base = base.absolute()
    name = name or base.name
    config = _models_config(base, name)
    folder = Path(tempfile.mkdtemp(prefix="kmnist-serve-"))
    models = folder / "models.config"
    models.write_text(config, encoding="utf-8")
    monitoring = folder / "monitoring.config"
    monitoring.write_text(_MONITORING, encoding="utf-8")
    subprocess.Popen(  # noqa: S603 - this module
        [sys.executable, "-m", __name__, str(folder), str(base), name, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C ends the binary first
    )
    return [
        binary,
        f"--model_config_file={models}",
        f"--model_config_file_poll_wait_seconds={_BINARY_SECONDS}",
        f"--monitoring_config_file={monitoring}",
        # A label is checked before its version is loaded; without this flag the start fails.
        "--allow_version_labels_for_unavailable_models=true",
        # The first version that is loaded or given up decides whether the start succeeds. One retry,
        # after longer than a good version takes to load, lets the good ones win over a broken one.
        "--max_num_load_retries=1",
        "--load_retry_interval_micros=5000000",
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"--rest_api_timeout_in_ms={round(timeout * 1000)}",
        f"--rest_api_num_threads={concurrency}",
        f"--grpc_max_threads={concurrency}",
    ]


def _keep_in_step(folder: Path, base: Path, name: str, server: int) -> None:
    """Update the copy of ``models.config`` while its parent ``server`` runs, then delete it."""
    copy = folder / "models.config"
    written = copy.read_text(encoding="utf-8")
    warned = ""
    while os.getppid() == server:
        time.sleep(_SECONDS)
        try:
            config = _models_config(base, name)
            if config != written:
                with replacing(copy) as file:
                    file.write(config.encode())
                written, warned = config, ""
        except (KmnistError, OSError) as error:
            if str(error) != warned:
                _log.warning("%s; the previous configuration stays in effect", error)
                warned = str(error)
    shutil.rmtree(folder, ignore_errors=True)


def _models_config(base: Path, name: str) -> str:
    config = ModelServerConfig()
    entry = config.model_config_list.config.add(
        name=name, base_path=os.fspath(base), model_platform="tensorflow"
    )
    try:
        known = read_model_config(config_path(base), base.name)
    except MissingError:
        entry.model_version_policy.latest.num_versions = 1
    else:
        entry.version_labels.update(known.labels)
        if known.policy.specific is not None:
            entry.model_version_policy.specific.versions.extend(known.policy.specific)
        elif known.policy.latest is not None:
            entry.model_version_policy.latest.num_versions = known.policy.latest
        else:
            entry.model_version_policy.all.SetInParent()
    return text_format.MessageToString(config, as_utf8=True)


if __name__ == "__main__":
    _keep_in_step(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
