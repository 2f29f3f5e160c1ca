#!/bin/sh
# Query a server with curl: [REST=http://localhost:8501] sh examples/curl.sh [PICTURE]
set -eu
HERE=$(dirname "$0")
MODEL=${REST:-http://localhost:8501}/v1/models/kmnist
PICTURE=${1:-$HERE/seven.png}

request() { curl -sS --fail-with-body "$@" && echo; }

echo '# The versions and their states: GET /v1/models/kmnist'
request "$MODEL"

echo '# The names of the signatures: GET /v1/models/kmnist/metadata also has their inputs and outputs'
request "$MODEL/metadata" | tr -d ' \n' | grep -o '"[a-z_]*":{"inputs"' | cut -d'"' -f2 | grep -v '^__' | sort

echo "# The class of $PICTURE, of any size and colour; its bytes are encoded as base64"
printf '{"signature_name": "pictures", "instances": [{"b64": "%s"}]}' "$(base64 <"$PICTURE" | tr -d '\n')" |
  request "$MODEL:predict" -d @-

echo '# The same in the column format, which is more compact for many pictures'
printf '{"signature_name": "pictures", "inputs": {"pictures": [{"b64": "%s"}]}}' "$(base64 <"$PICTURE" | tr -d '\n')" |
  request "$MODEL:predict" -d @-

echo '# The class of an array: 28 rows of 28 pixels from 0 to 255; seven.json is the whole request'
request "$MODEL:predict" -d @"$HERE/seven.json"
