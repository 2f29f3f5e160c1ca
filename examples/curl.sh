#!/bin/sh
# Query a server with curl: REST=http://localhost:8501 sh examples/curl.sh PICTURE
set -eu
REST=${REST:-http://localhost:8501}
MODEL=$REST/v1/models/kmnist

# The versions and their states, such as AVAILABLE.
curl -sS --fail-with-body "$MODEL"

# The signatures with their inputs and outputs.
curl -sS --fail-with-body "$MODEL/metadata"

# Classify a picture of any size and colour. Its bytes are encoded as base64.
printf '{"signature_name": "pictures", "instances": [{"b64": "%s"}]}' "$(base64 <"$1" | tr -d '\n')" |
  curl -sS --fail-with-body "$MODEL:predict" -d @-

# The same in the column format, which is more compact for many pictures, with version 1.
printf '{"signature_name": "pictures", "inputs": {"pictures": [{"b64": "%s"}]}}' "$(base64 <"$1" | tr -d '\n')" |
  curl -sS --fail-with-body "$MODEL/versions/1:predict" -d @-

# Classify an array: 28 rows of 28 pixels from 0 to 255. This image is black.
row=$(printf '0,%.0s' $(seq 27))0
printf '{"instances": [[[%s]%s]]}' "$row" "$(printf ",[$row]%.0s" $(seq 27))" |
  curl -sS --fail-with-body "$MODEL:predict" -d @-
