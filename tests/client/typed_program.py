"""A user's program, which `.ci/run` has mypy check against an installation of the client alone."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from kmnist import (
    AsyncClient,
    Client,
    InputError,
    KmnistError,
    Prediction,
    Predictions,
    predict_stream,
)
from kmnist.client import TLS, Metadata, VersionStatus
from kmnist.client.testing import FakeTransport


def classify(url: str, folder: Path) -> list[str]:
    with Client(url, tls=TLS(ca="ca.pem"), timeout=5, retries=2) as client:
        predictions = client.predict_pictures(sorted(folder.glob("*.png")))
        assert_type(predictions, Predictions)
        assert_type(predictions.class_ids, NDArray[np.int64])
        assert_type(predictions[0], Prediction)
        assert_type(client.status(), list[VersionStatus])
        assert_type(client.metadata(), Metadata)
        assert_type(client.call({"x": [1.0, 2.0]}), dict[str, NDArray[Any]])
        return [prediction.class_name for prediction in predictions]


async def classify_in_loop(url: str, images: NDArray[np.uint8]) -> float:
    try:
        async with AsyncClient(url, model="kmnist", label="stable") as client:
            predictions = await client.predict(images)
    except InputError:
        raise
    except KmnistError as error:
        raise SystemExit(str(error)) from None
    assert_type(predictions, Predictions)
    return max(prediction.probability for prediction in predictions)


def make_mistakes(client: Client) -> None:
    """Make five mistakes; mypy reports the comment of one that it does not find."""
    from kmnist import Cliennt  # type: ignore[attr-defined]  # noqa: F401

    client.predict([[0]], timeot=3)  # type: ignore[call-arg]
    client.predict_pictures(7)  # type: ignore[arg-type]
    client.predict_pictures("a")[0].clas_name  # type: ignore[attr-defined]  # noqa: B018
    client.call([1.0], "pixels")  # type: ignore[call-arg]


def test_of_a_user() -> None:
    def answer(values: NDArray[Any]) -> NDArray[Any]:
        return np.eye(10)[[7] * len(values)]

    with Client(transport=FakeTransport(answer)) as client:
        assert [result.class_id for result in predict_stream([b"PNG"], client)] == [7]
