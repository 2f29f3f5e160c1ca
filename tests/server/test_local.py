"""A client without a server."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kmnist import Client, Dataset
from kmnist.errors import (
    InputError,
    MissingError,
    SignatureNotFoundError,
)
from kmnist.protocol.messages import ModelSpec, Request
from kmnist.server import Server
from kmnist.server.local import LocalModel
from tests.server.calls import IMAGES
from tests.server.served_models import save_digits

SPEC = ModelSpec("kmnist")


@pytest.fixture(scope="module")
def local(models: Path) -> Iterator[Client]:
    """A client of the exported version, without a server."""
    with Client(transport=LocalModel(models)) as client:
        yield client


def test_predictions_equal_those_of_a_server(
    local: Client, served: Server, tiny_dataset: Dataset
) -> None:
    images = tiny_dataset.test.images
    predictions = local.predict(images)
    with Client(served.grpc_url) as client:
        expected = client.predict(images)
        assert local.metadata() == client.metadata()
        assert local.status() == client.status()
    np.testing.assert_array_equal(predictions.probabilities, expected.probabilities)
    np.testing.assert_array_equal(predictions.class_names, expected.class_names)


def test_an_unknown_signature_is_a_client_error(saved: Path) -> None:
    model = LocalModel(saved)
    signature = model.metadata(SPEC, 1.0).signatures["serving_default"]
    with pytest.raises(SignatureNotFoundError, match='signature key "x" not found'):
        model.predict(Request(SPEC, "x", signature, {"images": IMAGES}), 1.0)
    model.close()


def test_the_newest_version_is_the_default_and_is_not_warmed_up(base: Path) -> None:
    warmup = save_digits(base, 3) / "assets.extra" / "tf_serving_warmup_requests"
    warmup.parent.mkdir()
    warmup.write_bytes(bytes(100))
    for version, class_id in ((None, 3), (1, 1)):
        model = LocalModel(base, version)
        signature = model.metadata(SPEC, 1.0).signatures["serving_default"]
        request = Request(SPEC, "serving_default", signature, {"images": IMAGES})
        outputs = model.predict(request, 1.0)
        assert outputs.tensors["class_ids"].tolist() == [class_id]
        assert outputs.version == class_id
        model.close()
    with pytest.raises(MissingError, match="no version 9"):
        LocalModel(base, 9)


def test_a_version_that_cannot_be_loaded_is_reported_in_one_line(base: Path) -> None:
    with pytest.raises(InputError, match=f"use the folder of versions, {base}, which"):
        LocalModel(base / "1")
    (base / "1" / "variables" / "variables.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(InputError, match=r"1 cannot be loaded, see kmnist doctor: [^\n]+$"):
        LocalModel(base)
