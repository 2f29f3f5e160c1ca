#!/usr/bin/env bash
# Train with two workers on this machine: bash examples/workers.sh [OPTION OF kmnist-train]...
set -eu

addresses=$(python3 -c '
import socket
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(f"\"127.0.0.1:{each.getsockname()[1]}\"" for each in listeners), sep=", ")')
workers=()

stop() {  # SIGTERM has no effect while TensorFlow starts
  kill "${workers[@]}" 2>/dev/null || true
  for _ in {1..20}; do
    kill -0 "${workers[@]}" 2>/dev/null || break
    sleep 0.5
  done
  kill -KILL "${workers[@]}" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 130' INT TERM

for index in 0 1; do
  task="{\"type\": \"worker\", \"index\": $index}"
  TF_CONFIG="{\"cluster\": {\"worker\": [$addresses]}, \"task\": $task}" \
    kmnist-train "$@" > >(sed "s/^/worker $index: /") 2>&1 &
  workers+=($!)
done
for _ in "${workers[@]}"; do
  wait -n
done
