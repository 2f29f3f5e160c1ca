"""What a version folder holds, read without TensorFlow."""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from kmnist.doctor.saved_model_pb2 import MetaGraphDef
from kmnist.doctor.saved_model_pb2 import SavedModel as _SavedModel
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.metadata import Signature, TensorSpec
from kmnist.protocol.tensors import dtype_name, shape_of

__all__ = ["DamagedError", "SavedModel", "read_saved_model", "read_warmup"]

_SHARD = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")
_MOST_WARMUP_RECORDS = 1000  # TensorFlow Serving refuses a version with more


class DamagedError(Exception):
    """A version folder is not whole; the message says in what."""


@dataclass(frozen=True)
class SavedModel:
    """What can be called in a version, and the TensorFlow that wrote it."""

    tensorflow_version: str
    signatures: dict[str, Signature]


def read_saved_model(folder: Path) -> SavedModel:
    """Reads the head of the SavedModel in ``folder``.

    Raises:
        DamagedError: a file is missing or cut off, or there is nothing to serve in it.
        OSError: a file cannot be read.
    """
    if not any(folder.iterdir()):
        raise DamagedError("is empty")
    graph = _serving_graph(folder)
    _require_variables(folder / "variables", graph)
    return SavedModel(
        graph.meta_info_def.tensorflow_version,
        {
            name: Signature(_specs(definition.inputs), _specs(definition.outputs))
            for name, definition in sorted(graph.signature_def.items())
            if not name.startswith("__")
        },
    )


def read_warmup(folder: Path) -> int:
    """The number of records in the warm-up file of the version in ``folder``.

    Raises:
        DamagedError: it is cut off, or holds what is not a request, or too many.
        OSError: it cannot be read.
    """
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    data = file.read_bytes() if file.exists() else b""
    count = 0
    while data:
        # A TFRecord: the length, its checksum, so many bytes, their checksum.
        length = struct.unpack("<Q", data[:8])[0] if len(data) >= 12 else None
        if length is None or len(data) < 16 + length:
            raise DamagedError(f"has a warm-up file that is cut off in record {count + 1}")
        try:
            log = pb.PredictionLog.FromString(data[12 : 12 + length])
        except DecodeError:
            raise DamagedError(f"has a warm-up file whose record {count + 1} is none") from None
        # A log of another API, classify say, leaves fields that are not known here.
        if not log.ByteSize():
            raise DamagedError(f"has a warm-up file whose record {count + 1} is empty")
        data = data[16 + length :]
        count += 1
    if count > _MOST_WARMUP_RECORDS:
        raise DamagedError(f"has {count:,} warm-up records, more than {_MOST_WARMUP_RECORDS:,}")
    return count


def _serving_graph(folder: Path) -> MetaGraphDef:
    file = folder / "saved_model.pb"
    if not file.is_file():
        if (folder / "saved_model.pbtxt").is_file():
            raise DamagedError("is a SavedModel in text form, which this does not read")
        raise DamagedError("has no saved_model.pb")
    try:
        graphs = _SavedModel.FromString(file.read_bytes()).meta_graphs
    except DecodeError:
        raise DamagedError("has a saved_model.pb that is cut off or none") from None
    if not graphs:
        raise DamagedError("has a saved_model.pb that is empty")
    for graph in graphs:
        if "serve" in graph.meta_info_def.tags:
            return graph
    tags = ", ".join(sorted({tag for graph in graphs for tag in graph.meta_info_def.tags}))
    raise DamagedError(f"has no graph with the tag serve, only: {tags or 'none'}")


def _require_variables(folder: Path, graph: MetaGraphDef) -> None:
    names = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    if not names and not graph.HasField("object_graph_def"):
        return  # TensorFlow 1, without variables
    if "variables.index" not in names:
        raise DamagedError("has no variables/variables.index")
    shards = [match for name in names if (match := _SHARD.fullmatch(name))]
    count = int(shards[0][2]) if shards else 1
    for number in range(count):
        name = f"variables.data-{number:05}-of-{count:05}"
        if name not in names:
            raise DamagedError(f"has no variables/{name}")
    for name in sorted(names):
        if not (folder / name).stat().st_size:
            raise DamagedError(f"has an empty variables/{name}")


def _specs(infos: Mapping[str, pb.TensorInfo]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(dtype_name(info.dtype), shape_of(info.tensor_shape))
        for name, info in sorted(infos.items())
    }
