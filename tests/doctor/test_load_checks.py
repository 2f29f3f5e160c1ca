"""Damaged versions: what is wrong with them, why, and what to do."""

import os
import shutil
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from kmnist.doctor import Finding, load_checks
from kmnist.doctor.load_checks import explain_failure, load_versions
from kmnist.errors import KmnistError
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.tensors import from_array
from kmnist.protocol.warmup import write_warmup

DATA = "variables/variables.data-00000-of-00001"
WARMUP = "assets.extra/tf_serving_warmup_requests"


@pytest.fixture
def version(tmp_path: Path, write_version: Callable[[Path], None]) -> Path:
    """A sound version folder to damage."""
    folder = tmp_path / "kmnist" / "2"
    write_version(folder)
    return folder


def only(folder: Path) -> Finding:
    """Return the finding for a version that cannot be loaded."""
    signatures, (finding,) = load_versions({2: folder})
    assert signatures == {}
    assert finding.is_problem
    assert finding.why
    assert finding.do.endswith(f"rm -r {folder}")
    return finding


def test_sound_versions_have_signatures(version: Path) -> None:
    write_warmup(version, "kmnist", {"serving_default": {"images": np.zeros((1, 28, 28), "u1")}})
    signatures, findings = load_versions({2: version})
    assert findings == []
    assert list(signatures) == [2]
    assert list(signatures[2]) == ["serving_default"]
    assert str(signatures[2]["serving_default"].inputs["images"]) == "uint8 (n, 28, 28)"


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index", DATA])
def test_a_missing_file(version: Path, file: str) -> None:
    (version / file).unlink()
    finding = only(version)
    assert finding.what == f"{version} has no {file}"
    assert "not copied completely" in finding.why
    assert "mv is atomic" in finding.do


def test_missing_variables(version: Path) -> None:
    shutil.rmtree(version / "variables")
    assert only(version).what == f"{version} has no variables/variables.index"


def test_a_missing_shard(version: Path) -> None:
    (version / DATA).rename(version / "variables" / "variables.data-00001-of-00002")
    assert only(version).what == f"{version} has no {DATA}"


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index", DATA])
def test_an_empty_file(version: Path, file: str) -> None:
    (version / file).write_bytes(b"")
    assert only(version).what == f"{version} has an empty {file}"


@pytest.mark.parametrize("size", [1, 10, 50, 1000])
def test_a_truncated_saved_model(version: Path, size: int) -> None:
    file = version / "saved_model.pb"
    file.write_bytes(file.read_bytes()[:size])
    finding = only(version)
    assert finding.what == f"{version} has a truncated or damaged saved_model.pb"
    assert "not copied completely" in finding.why


def test_truncated_variables(version: Path) -> None:
    (version / DATA).write_bytes((version / DATA).read_bytes()[:-100])
    assert only(version).what == f"{version} has truncated or damaged variables"


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index", WARMUP])
def test_a_named_pipe_is_not_waited_for(version: Path, file: str) -> None:
    (version / file).unlink(missing_ok=True)
    (version / file).parent.mkdir(exist_ok=True)
    os.mkfifo(version / file)
    finding = only(version)
    assert finding.what == f"{version} cannot be loaded: {version / file}: not a regular file"
    assert "without a message" in finding.why


def test_a_link_to_a_missing_saved_model(version: Path) -> None:
    (version / "saved_model.pb").unlink()
    (version / "saved_model.pb").symlink_to("/nowhere")
    assert only(version).what == f"{version} has no saved_model.pb"


def test_a_load_that_does_not_end_is_abandoned(
    version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(load_checks, "_LOAD_SECONDS", 0.05)
    monkeypatch.setattr("kmnist.server.model.LoadedModel", lambda *_, **__: ended.wait())
    finding = only(version)
    ended.set()
    assert finding.what == f"{version} cannot be loaded: {version}: not loaded after 0.05 seconds"


def test_any_failure_of_a_load_is_a_finding(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Path, **__: bool) -> None:
        raise KeyError("signature_def")

    monkeypatch.setattr("kmnist.server.model.LoadedModel", fail)
    assert only(version).what.startswith(f"{version} cannot be loaded: KeyError: ")


def test_an_empty_version(version: Path) -> None:
    shutil.rmtree(version)
    version.mkdir()
    assert only(version).what == f"{version} is empty"


@pytest.mark.parametrize(
    ("tags", "observation"),
    [(["train"], "has no graph with the tag serve, only: {'train'}"), (None, "without a graph")],
)
def test_no_graph_to_serve(version: Path, tags: list[str] | None, observation: str) -> None:
    file = version / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    if tags is None:
        del model.meta_graphs[:]
        model.saved_model_schema_version = 1
    else:
        model.meta_graphs[0].meta_info_def.tags[:] = tags
    file.write_bytes(model.SerializeToString())
    assert observation in only(version).what


def test_an_error_without_an_explanation_is_quoted(version: Path) -> None:
    (version / "saved_model.pb").rename(version / "saved_model.pbtxt")
    finding = only(version)
    assert finding.what.startswith(f"{version} cannot be loaded: 'utf-8' codec can't decode")
    assert "a server cannot load it either" in finding.why


class TestWarmUp:
    """A warm-up file that makes every server fail to load the version."""

    def write(self, version: Path, records: Sequence[bytes]) -> Path:
        (version / WARMUP).parent.mkdir()
        with tf.io.TFRecordWriter(str(version / WARMUP)) as writer:
            for record in records:
                writer.write(record)
        return version / WARMUP

    def request(self, **inputs: np.ndarray) -> bytes:
        log = pb.PredictionLog()
        for name, values in inputs.items():
            log.predict_log.request.inputs[name].CopyFrom(from_array(values))
        log.predict_log.request.model_spec.name = "kmnist"
        return log.SerializeToString()

    @pytest.mark.parametrize(
        ("record", "reason"), [(b"\xff\xff", "Error parsing message"), (b"", "a record is empty")]
    )
    def test_a_record_that_is_not_a_request(
        self, version: Path, record: bytes, reason: str
    ) -> None:
        self.write(version, [record])
        finding = only(version)
        assert f"has a warm-up file that fails: {reason}" in finding.what
        assert "assets.extra" in finding.do

    def test_a_truncated_record(self, version: Path) -> None:
        file = self.write(version, [bytes(100)])
        file.write_bytes(file.read_bytes()[:-20])
        assert "has a warm-up file that fails: truncated record at 0" in only(version).what

    def test_a_wrong_checksum(self, version: Path) -> None:
        file = self.write(version, [])
        file.write_bytes(struct.pack("<QI", 2, 0) + b"\xff\xff" + bytes(4))
        assert "has a warm-up file that fails: corrupted record at 0" in only(version).what

    def test_a_request_that_the_model_refuses(self, version: Path) -> None:
        self.write(version, [self.request(pictures=np.zeros(1))])
        assert "input size does not match signature" in only(version).what


@pytest.mark.parametrize(
    ("message", "why", "do"),
    [
        ("Op type not registered 'NewOp' in binary", "newer TensorFlow", "run a newer server"),
        (
            "NodeDef mentions attr 'grad_a' not in Op<name=MatMul>; NodeDef: {{node MatMul}}",
            "newer TensorFlow",
            "run a newer server",
        ),
        (
            "GraphDef producer version 27 below min producer 2000 supported by TensorFlow",
            "newer TensorFlow",
            "run a newer server",
        ),
        ("Failed to process warmup: Invalid argument", "warm-up", "assets.extra"),
        (
            "Could not find SavedModel .pb or .pbtxt at supplied export directory",
            "not copied completely",
            "copy it again",
        ),
        (
            "Could not find meta graph def matching supplied tags: { serve }",
            "the tag serve",
            "export the model for serving",
        ),
        ("OUT_OF_RANGE: Read less bytes than requested", "not copied completely", "copy it again"),
        ("/models/kmnist/2/saved_model.pb; Permission denied", "may not read", "chmod"),
        ("OOM when allocating tensor", "not enough memory", "kmnist versions prune"),
    ],
)
def test_messages_of_tensorflow_are_explained(message: str, why: str, do: str) -> None:
    explanation = explain_failure(message)
    assert explanation is not None
    assert why in explanation[0]
    assert do in explanation[1]


def test_an_unknown_message_has_no_explanation() -> None:
    assert explain_failure("something else") is None


def test_a_missing_tensorflow_is_one_line(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kmnist.server.model", None)
    with pytest.raises(KmnistError, match=r"requires the full package: pip install kmnist$"):
        load_versions({2: version})
