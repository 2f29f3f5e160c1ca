"""gRPC status codes and the HTTP statuses that TensorFlow Serving's REST API sends for them.

Source: tensorflow_serving/util/net_http and tensorflow_serving/model_servers/http_server.cc.
"""

from typing import Final

__all__ = ["CODE_OF_HTTP_STATUS", "HTTP_STATUS_OF_CODE"]

# Several codes share a status: a client assumes the first one listed.
HTTP_STATUS_OF_CODE: Final = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

# TensorFlow Serving never sends 413; proxies do, for a body above their limit.
CODE_OF_HTTP_STATUS: Final = {413: "RESOURCE_EXHAUSTED"} | {
    status: code for code, status in reversed(HTTP_STATUS_OF_CODE.items()) if status != 200
}
