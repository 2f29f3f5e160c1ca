"""The command line of TensorFlow Serving's binary for a folder of versions on this machine."""

import tempfile
from pathlib import Path
from typing import Final

from google.protobuf import text_format

from kmnist.errors import MissingError
from kmnist.protocol.models_config_pb2 import ModelServerConfig
from kmnist.server.monitoring import METRICS_PATH
from kmnist.versions import config_path, read_model_config

__all__ = ["command_line"]

_MONITORING: Final = f'prometheus_config {{ enable: true path: "{METRICS_PATH}" }}\n'


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

    The configuration files are written to a new temporary folder, which is not deleted: the server
    re-reads them. ``models.config`` contains the path of the model in a container; the copy
    contains its path on this machine.

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
    config = _models_config(base, name or base.name)
    folder = Path(tempfile.mkdtemp(prefix="kmnist-serve-"))
    models = folder / "models.config"
    models.write_text(config, encoding="utf-8")
    monitoring = folder / "monitoring.config"
    monitoring.write_text(_MONITORING, encoding="utf-8")
    return [
        binary,
        f"--model_config_file={models}",
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


def _models_config(base: Path, name: str) -> str:
    config = ModelServerConfig()
    entry = config.model_config_list.config.add(
        name=name, base_path=str(base), model_platform="tensorflow"
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
