#!/bin/sh
# What curl needs to ask a server: REST=http://localhost:8501 sh examples/curl.sh PICTURE
set -eu
REST=${REST:-http://localhost:8501}
MODEL=$REST/v1/models/kmnist

# Which versions there are, and whether they are AVAILABLE.
curl -sS --fail-with-body "$MODEL"

# The signatures: what goes in, what comes out.
curl -sS --fail-with-body "$MODEL/metadata"

# A picture, of any size and colour. Its bytes travel as base64.
printf '{"signature_name": "pictures", "instances": [{"b64": "%s"}]}' "$(base64 <"$1" | tr -d '\n')" |
  curl -sS --fail-with-body "$MODEL:predict" -d @-

# The same as columns, which are shorter when there are many, from version 1.
printf '{"signature_name": "pictures", "inputs": {"pictures": [{"b64": "%s"}]}}' "$(base64 <"$1" | tr -d '\n')" |
  curl -sS --fail-with-body "$MODEL/versions/1:predict" -d @-

# Numbers: an image of 28 rows of 28 pixels from 0 to 255. This one is black.
row=$(printf '0,%.0s' $(seq 27))0
printf '{"instances": [[[%s]%s]]}' "$row" "$(printf ",[$row]%.0s" $(seq 27))" |
  curl -sS --fail-with-body "$MODEL:predict" -d @-
