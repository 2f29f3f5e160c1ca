"""The table of gRPC codes and HTTP statuses."""

import grpc

from kmnist.protocol.codes import CODE_OF_HTTP_STATUS, HTTP_STATUS_OF_CODE


def test_every_grpc_code_has_an_http_status() -> None:
    assert set(HTTP_STATUS_OF_CODE) == {code.name for code in grpc.StatusCode}


def test_the_code_of_a_status_is_the_first_one_listed() -> None:
    assert CODE_OF_HTTP_STATUS[400] == "INVALID_ARGUMENT"
    assert CODE_OF_HTTP_STATUS[409] == "ABORTED"
    assert CODE_OF_HTTP_STATUS[500] == "INTERNAL"


def test_both_directions_agree() -> None:
    for status, code in CODE_OF_HTTP_STATUS.items():
        assert status == 413 or HTTP_STATUS_OF_CODE[code] == status
    assert CODE_OF_HTTP_STATUS[413] == "RESOURCE_EXHAUSTED"
    assert 200 not in CODE_OF_HTTP_STATUS
