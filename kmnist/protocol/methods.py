"""Paths of TensorFlow Serving's gRPC methods, ``/SERVICE/METHOD``.

Source: tensorflow_serving/apis/prediction_service.proto and model_service.proto.
"""

from typing import Final

__all__ = ["GET_MODEL_METADATA", "GET_MODEL_STATUS", "PREDICT", "SIGNATURES_TYPE_URL"]

PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA: Final = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS: Final = "/tensorflow.serving.ModelService/GetModelStatus"

# The type of the Any under "signature_def" in a metadata response; its value is a SignatureDefMap.
SIGNATURES_TYPE_URL: Final = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
