"""``examine_folder`` finds each cause, names it, and says what to do."""

import http.server
import os
import shutil
import socket
import struct
import threading
from pathlib import Path

import pytest

from kmnist.doctor import Report, examine_folder
from kmnist.doctor.saved_model_pb2 import SavedModel
from kmnist.protocol import serving_pb2 as pb
from kmnist.versions import config_path, ensure_model_config, label


def write_version(folder: Path, *, width: int = 28, signatures=("serving_default",)) -> None:
    """The skeleton of a SavedModel: what a diagnosis reads of one."""
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "variables.index").write_bytes(b"index")
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(b"data")
    model = SavedModel()
    graph = model.meta_graphs.add(object_graph_def=b"")
    graph.meta_info_def.tags.append("serve")
    for name in (*signatures, "__saved_model_init_op"):
        image = graph.signature_def[name].inputs["images"]
        image.dtype = pb.DT_UINT8
        for size in (-1, width, width):
            image.tensor_shape.dim.add(size=size)
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    for path in (folder.parent, folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def base(tmp_path):
    """The folder of a model with the versions 1 and 2 and a models.config, all in order."""
    folder = tmp_path / "models" / "kmnist"
    for version in ("1", "2"):
        write_version(folder / version)
    ensure_model_config(folder)
    return folder


def examine(base, **options) -> Report:
    return examine_folder(base, **{"grpc_port": 0, "rest_port": 0, **options})


def only_finding(report: Report):
    """The one thing that was found; it says what to do."""
    (finding,) = report.findings
    assert finding.why
    assert finding.do
    return finding


def test_a_sound_folder_is_healthy(base) -> None:
    report = examine(base)
    assert report.findings == []
    assert report.is_healthy
    assert len(report.checks) == 7


def test_an_exported_version_is_healthy_and_tensorflow_loads_it(models) -> None:
    report = examine(models, load=True)
    assert report.findings == []
    assert "TensorFlow loads every version" in [check.title for check in report.checks]


class TestLayout:
    def test_no_folder(self, tmp_path) -> None:
        finding = only_finding(examine(tmp_path / "none"))
        assert finding.what == f"there is no folder {tmp_path / 'none'}"
        assert "kmnist-train --output" in finding.do

    def test_a_file(self, tmp_path) -> None:
        (tmp_path / "file").touch()
        assert "is a file" in only_finding(examine(tmp_path / "file")).what

    def test_an_empty_folder(self, tmp_path) -> None:
        assert "there is no version" in only_finding(examine(tmp_path)).what

    def test_a_version_in_place_of_its_parent(self, base) -> None:
        finding = only_finding(examine(base / "1"))
        assert finding.what == f"{base / '1'} is a version itself"
        assert str(base) in finding.do

    def test_a_saved_model_without_a_version_folder(self, tmp_path) -> None:
        write_version(tmp_path / "exported")
        finding = only_finding(examine(tmp_path / "exported"))
        assert finding.what.endswith("exported is a SavedModel itself")
        assert finding.do.endswith(str(tmp_path / "exported" / "1"))

    def test_the_parent_of_the_models(self, base) -> None:
        finding = only_finding(examine(base.parent))
        assert finding.what.endswith("holds models, not versions: kmnist")
        assert str(base) in finding.do

    @pytest.mark.parametrize("name", ["v3", "latest", "3.bak", "-3", "٣"])
    def test_a_folder_whose_name_is_not_a_number(self, base, name) -> None:
        write_version(base / name)
        finding = only_finding(examine(base))
        assert "its name is not a number" in finding.what
        assert finding.do.startswith(f"mv {base / name} {base / '3'}")

    def test_only_a_folder_whose_name_is_not_a_number(self, tmp_path) -> None:
        write_version(tmp_path / "kmnist" / "v1")
        whats = [finding.what for finding in examine(tmp_path / "kmnist").findings]
        assert "there is no version" in whats[0]
        assert "its name is not a number" in whats[1]

    def test_leading_zeros(self, base) -> None:
        os.rename(base / "2", base / "002")
        finding = only_finding(examine(base))
        assert "leading zeros" in finding.what
        assert not finding.is_problem

    def test_staging_folders_and_other_files_are_no_concern(self, base) -> None:
        write_version(base / ".staging-1")
        (base / "notes").mkdir()
        assert examine(base).findings == []


class TestWhole:
    @pytest.mark.parametrize(
        ("lost", "said"),
        [
            ("saved_model.pb", "has no saved_model.pb"),
            ("variables/variables.index", "has no variables/variables.index"),
            (
                "variables/variables.data-00000-of-00001",
                "has no variables/variables.data-00000-of-00001",
            ),
        ],
    )
    def test_a_file_is_missing(self, base, lost, said) -> None:
        (base / "2" / lost).unlink()
        finding = only_finding(examine(base))
        assert finding.what == f"{base / '2'} {said}"
        assert "copied in part" in finding.why

    def test_a_shard_is_missing(self, base) -> None:
        variables = base / "2" / "variables"
        (variables / "variables.data-00000-of-00001").rename(
            variables / "variables.data-00001-of-00002"
        )
        assert "variables.data-00000-of-00002" in only_finding(examine(base)).what

    @pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.data-00000-of-00001"])
    def test_a_file_is_empty(self, base, file) -> None:
        (base / "2" / file).write_bytes(b"")
        assert "empty" in only_finding(examine(base)).what

    @pytest.mark.parametrize("size", [1, 10, 50])
    def test_saved_model_is_cut_off(self, base, size) -> None:
        file = base / "2" / "saved_model.pb"
        file.write_bytes(file.read_bytes()[:size])
        assert "cut off" in only_finding(examine(base)).what

    def test_a_version_is_empty(self, base) -> None:
        (base / "3").mkdir()
        assert only_finding(examine(base)).what == f"{base / '3'} is empty"

    def test_nothing_is_tagged_to_be_served(self, base) -> None:
        file = base / "2" / "saved_model.pb"
        model = SavedModel.FromString(file.read_bytes())
        model.meta_graphs[0].meta_info_def.tags[:] = ["train"]
        file.write_bytes(model.SerializeToString())
        assert "no graph with the tag serve, only: train" in only_finding(examine(base)).what

    def test_variables_that_are_cut_off_are_found_by_loading(self, models, tmp_path) -> None:
        base = tmp_path / "models" / "kmnist"
        shutil.copytree(models, base)
        ensure_model_config(base)
        (data,) = (base / "1" / "variables").glob("*.data-*")
        data.write_bytes(data.read_bytes()[:-100])
        assert examine(base).findings == []
        finding = only_finding(examine(base, load=True))
        assert finding.what.startswith(f"{base / '1'} cannot be loaded: ")

    @pytest.mark.parametrize(
        ("records", "said"),
        [
            ([b"\xff\xff"], "record 1 is none"),
            ([b""], "record 1 is empty"),
            ([None], "cut off in record 1"),
            ([pb.PredictionLog(predict_log={"request": {}}).SerializeToString()] * 1001, "1,001"),
        ],
    )
    def test_a_warm_up_file_that_fails_the_load(self, base, records, said) -> None:
        (base / "2" / "assets.extra").mkdir()
        data = b"".join(
            struct.pack("<Q", 9)
            if record is None
            else struct.pack("<QI", len(record), 0) + record + bytes(4)
            for record in records
        )
        (base / "2" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(data)
        os.chmod(base / "2" / "assets.extra", 0o755)
        os.chmod(base / "2" / "assets.extra" / "tf_serving_warmup_requests", 0o644)
        assert said in only_finding(examine(base)).what


class TestSignatures:
    def test_a_version_lacks_one(self, base) -> None:
        write_version(base / "3", signatures=("serving_default", "pixels"))
        findings = examine(base).findings
        assert [finding.what for finding in findings] == [
            "version 1 differs from version 3: it has no signature pixels",
            "version 2 differs from version 3: it has no signature pixels",
        ]

    def test_an_input_is_another(self, base) -> None:
        write_version(base / "3", width=32)
        assert examine(base).findings[0].what == (
            "version 1 differs from version 3: serving_default has the inputs "
            "images: uint8 (n, 28, 28), not images: uint8 (n, 32, 32)"
        )

    def test_none_is_the_default(self, tmp_path) -> None:
        base = tmp_path / "kmnist"
        write_version(base / "1", signatures=("classify",))
        ensure_model_config(base)
        finding = only_finding(examine(base))
        assert "no signature serving_default, only: classify" in finding.what
        assert not finding.is_problem


def test_files_closed_to_others(base) -> None:
    (base / "1" / "saved_model.pb").chmod(0o600)
    (base / "2" / "variables").chmod(0o700)
    finding = only_finding(examine(base))
    assert finding.what.endswith("saved_model.pb is closed to other users, as are 1 more")
    assert finding.do.startswith("chmod -R a+rX")
    assert not finding.is_problem


class TestConfig:
    def write(self, base, entry) -> None:
        config_path(base).write_text(f"model_config_list {{ config {{ {entry} }} }}")

    def test_there_is_none(self, base) -> None:
        config_path(base).unlink()
        finding = only_finding(examine(base))
        assert "there is no" in finding.what
        assert "kmnist versions label" in finding.do

    def test_it_is_no_such_file(self, base) -> None:
        config_path(base).write_text("models: [kmnist]")
        assert "cannot be read" in only_finding(examine(base)).what

    def test_it_lacks_the_model(self, base) -> None:
        self.write(base, 'name: "mnist" base_path: "/models/mnist"')
        assert "has no model kmnist" in only_finding(examine(base)).what

    def test_its_path_is_relative(self, base) -> None:
        self.write(base, 'name: "kmnist" base_path: "models/kmnist"')
        assert "not absolute" in only_finding(examine(base)).what

    def test_its_path_is_of_another_model(self, base) -> None:
        self.write(base, 'name: "kmnist" base_path: "/models/mnist"')
        finding = only_finding(examine(base))
        assert "the folder /models/mnist" in finding.what

    def test_a_label_points_at_a_version_that_is_not_there(self, base) -> None:
        label(base, {"canary": 2})
        os.rename(base / "2", base / "3")
        finding = only_finding(examine(base))
        assert finding.what == "the label canary points at version 2, which is not there"
        assert "kmnist versions label canary=3" in finding.do

    def test_a_label_points_at_a_version_that_is_not_loaded(self, base) -> None:
        self.write(
            base, 'name: "kmnist" base_path: "/kmnist" version_labels { key: "old" value: 1 }'
        )
        finding = only_finding(examine(base))
        assert "version 1, which is not loaded: the policy asks for 2" in finding.what
        assert "all {}" in finding.do

    def test_the_policy_asks_for_a_version_that_is_not_there(self, base) -> None:
        self.write(
            base,
            'name: "kmnist" base_path: "/kmnist" '
            "model_version_policy { specific { versions: 1 versions: 9 } }",
        )
        assert "not there: 9" in only_finding(examine(base)).what


class TestPorts:
    def test_a_silent_program_on_the_port(self, base) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            finding = only_finding(examine(base, grpc_port=port))
        assert finding.what == f"port {port} is taken, and not by a model server"
        assert f"ss -ltnp 'sport = :{port}'" in finding.do

    def test_another_web_server_on_the_port(self, base) -> None:
        with http.server.HTTPServer(
            ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
        ) as web_server:
            threading.Thread(target=web_server.serve_forever, daemon=True).start()
            report = examine(base, rest_port=web_server.server_address[1])
            web_server.shutdown()
        assert "not by a model server" in only_finding(report).what

    def test_a_free_port(self, base) -> None:
        with socket.create_server(("127.0.0.1", 0)) as freed:
            port = freed.getsockname()[1]
        assert examine(base, grpc_port=port, rest_port=port).is_healthy
