"""The configuration files of TensorFlow Serving."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,  # noqa: F401 - registers Int64Value
)

FOLDER = Path(__file__).parents[2] / "serving" / "tensorflow_serving"

Parse = Callable[[str, str], Any]

_FIELD = descriptor_pb2.FieldDescriptorProto
_WRAPPER = ".google.protobuf."
# tensorflow-serving-api lacks these messages. Name, number and type of the fields are those of
# servables/tensorflow/session_bundle_config.proto and config/monitoring_config.proto.
_SCHEMA: dict[str, list[tuple[str, int, Any]]] = {
    "BatchingParameters": [
        ("max_batch_size", 1, _WRAPPER + "Int64Value"),
        ("batch_timeout_micros", 2, _WRAPPER + "Int64Value"),
        ("max_enqueued_batches", 3, _WRAPPER + "Int64Value"),
        ("num_batch_threads", 4, _WRAPPER + "Int64Value"),
        ("thread_pool_name", 5, _WRAPPER + "StringValue"),
        ("allowed_batch_sizes", 6, _FIELD.TYPE_INT64),
        ("pad_variable_length_inputs", 7, _FIELD.TYPE_BOOL),
        ("enable_large_batch_splitting", 8, _WRAPPER + "BoolValue"),
        ("max_execution_batch_size", 9, _WRAPPER + "Int64Value"),
    ],
    "PrometheusConfig": [("enable", 1, _FIELD.TYPE_BOOL), ("path", 2, _FIELD.TYPE_STRING)],
    "MonitoringConfig": [("prometheus_config", 1, ".test.PrometheusConfig")],
}


@pytest.fixture(scope="module")
def parse() -> Parse:
    """``parse(path, name)`` parses a file of the folder as a message of the schema."""
    file = descriptor_pb2.FileDescriptorProto(
        name="test.proto",
        package="test",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            label = _FIELD.LABEL_REPEATED if field.endswith("sizes") else _FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                message.field.add(
                    name=field,
                    number=number,
                    type=_FIELD.TYPE_MESSAGE,
                    type_name=kind,
                    label=label,
                )
            else:
                message.field.add(name=field, number=number, type=kind, label=label)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())

    def parse(path: str, name: str) -> Any:
        message = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}"))
        return text_format.Parse((FOLDER / path).read_text(), message())

    return parse


def test_batching_never_waits_and_accepts_large_requests(parse: Parse) -> None:
    batching = parse("batching.config", "BatchingParameters")
    assert batching.batch_timeout_micros.value == 0
    assert batching.max_batch_size.value >= 10_000  # the test split in one request
    sizes = list(batching.allowed_batch_sizes)
    # TensorFlow Serving does not start unless the last size is the largest batch.
    assert not sizes or sizes[-1] == batching.max_batch_size.value


def test_prometheus_scrapes_the_path_of_the_metrics(parse: Parse) -> None:
    monitoring = parse("monitoring.config", "MonitoringConfig")
    assert monitoring.prometheus_config.enable
    scrape = (FOLDER.parent / "prometheus" / "prometheus.yml").read_text()
    assert f"metrics_path: {monitoring.prometheus_config.path}\n" in scrape
