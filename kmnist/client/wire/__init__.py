"""TensorFlow Serving's wire format: messages, method paths, and numpy arrays as tensors.

The messages are :mod:`kmnist.client.wire.serving_pb2`, made from ``serving.proto`` with a protoc
as old as the oldest protobuf that kmnist supports, since generated code demands a runtime no
older than its compiler. To make them again after a change, from the repository's root::

    uvx --from grpcio-tools==1.74.0 python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. kmnist/client/wire/serving.proto

Sources: tensorflow_serving/apis/{prediction_service,model_service,predict,model,
get_model_metadata,get_model_status,prediction_log}.proto and
tensorflow/core/framework/{tensor,tensor_shape,types}.proto.
"""

from typing import Final

__all__ = ["GET_MODEL_METADATA", "GET_MODEL_STATUS", "PREDICT", "SIGNATURES_TYPE_URL"]

PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA: Final = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS: Final = "/tensorflow.serving.ModelService/GetModelStatus"

#: The type of the Any under "signature_def" in a metadata answer; its value is a SignatureDefMap.
SIGNATURES_TYPE_URL: Final = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
