"""The configuration files of TensorFlow Serving.

tensorflow-serving-api does not contain their messages: the names of the fields are those of
servables/tensorflow/session_bundle_config.proto and config/monitoring_config.proto.
"""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "serving" / "tensorflow_serving"


def read(name: str) -> list[str]:
    """Return the lines of a file without comments and blank lines."""
    lines = (FOLDER / name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_batching_adds_no_delay_and_accepts_large_requests() -> None:
    fields = [re.fullmatch(r"(\w+) \{ value: (\d+) \}", line) for line in read("batching.config")]
    batching = {field[1]: int(field[2]) for field in fields if field}
    assert None not in fields
    assert set(batching) <= {
        "batch_timeout_micros", "max_batch_size", "max_enqueued_batches", "num_batch_threads",
    }  # fmt: skip
    assert batching["batch_timeout_micros"] == 0
    assert batching["max_batch_size"] >= 10_000  # the test split in one request


def test_prometheus_scrapes_the_path_of_the_metrics() -> None:
    first, enable, path, last = read("monitoring.config")
    assert (first, enable, last) == ("prometheus_config {", "  enable: true", "}")
    [quoted] = re.findall(r'^  path: "(.+)"$', path)
    scrape = (FOLDER.parent / "prometheus" / "prometheus.yml").read_text("utf-8")
    assert f"metrics_path: {quoted}\n" in scrape
