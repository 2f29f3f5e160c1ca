"""TensorFlow Serving's binary, run for a folder of versions on this machine."""

import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Final

from google.protobuf import text_format

from kmnist.atomic import replacing
from kmnist.errors import KmnistError, MissingError
from kmnist.protocol.models_config_pb2 import ModelServerConfig
from kmnist.server.monitoring import METRICS_PATH
from kmnist.versions import config_path, read_model_config

__all__ = ["run"]

_MONITORING: Final = f'prometheus_config {{ enable: true path: "{METRICS_PATH}" }}\n'
# How often models.config is read here, and its copy by the binary, which logs each time.
_POLL_SECONDS: Final = 1
_BINARY_POLL_SECONDS: Final = 10
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_log = logging.getLogger(__name__)


def run(
    binary: str,
    base: Path,
    *,
    name: str | None,
    grpc_port: int,
    rest_port: int,
    timeout: float,
    concurrency: int,
) -> int:
    """Run the binary until it ends; it gets the signals of this process.

    ``models.config`` has the path of the model in a container. The server gets a copy with the path
    on this machine in a temporary folder, which is kept in step, so that labels move.

    Call it in the main thread.

    Args:
        binary: The path of ``tensorflow_model_server``.
        base: The folder of versions.
        name: The model name of requests; None for the name of the folder.
        grpc_port: The port of the gRPC API.
        rest_port: The port of the REST API.
        timeout: Seconds after which a REST request is abandoned.
        concurrency: The number of requests that are processed at a time, for each transport.

    Returns:
        The exit code of the binary; 128 + N if signal N ended it.

    Raises:
        InputError: The ``models.config`` beside ``base`` is invalid.
    """
    base = base.absolute()
    name = name or base.name
    config = _models_config(base, name)
    with TemporaryDirectory(prefix="kmnist-serve-") as folder:
        models, monitoring = Path(folder, "models.config"), Path(folder, "monitoring.config")
        models.write_text(config, encoding="utf-8")
        monitoring.write_text(_MONITORING, encoding="utf-8")
        command = [
            binary,
            f"--model_config_file={models}",
            f"--model_config_file_poll_wait_seconds={_BINARY_POLL_SECONDS}",
            f"--monitoring_config_file={monitoring}",
            # A label is checked before its version is loaded; without this flag the start fails.
            "--allow_version_labels_for_unavailable_models=true",
            # The first result of a load decides whether the server starts. With one late retry,
            # a good version is loaded before a broken one has failed.
            "--max_num_load_retries=1",
            "--load_retry_interval_micros=5000000",
            f"--port={grpc_port}",
            f"--rest_api_port={rest_port}",
            f"--rest_api_timeout_in_ms={round(timeout * 1000)}",
            f"--rest_api_num_threads={concurrency}",
            f"--grpc_max_threads={concurrency}",
        ]
        with (
            subprocess.Popen(command) as process,  # noqa: S603 - the binary of the user
            _forwarding_signals(process),
        ):
            while True:
                try:
                    code = process.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    config = _keep_in_step(models, config, base, name)
                else:
                    return code if code >= 0 else 128 - code


@contextmanager
def _forwarding_signals(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Send the signals of this process to another one while the block runs."""

    def forward(number: int, _frame: FrameType | None) -> None:
        process.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _keep_in_step(copy: Path, written: str, base: Path, name: str) -> str:
    """Write the copy again if ``models.config`` has changed; return its content."""
    try:
        config = _models_config(base, name)
    except (KmnistError, OSError) as error:
        _log.warning("%s; the previous configuration stays in effect", error)
        return written
    if config != written:
        with replacing(copy) as file:
            file.write(config.encode())
    return config


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
