#!/usr/bin/env bash
# Two silos, a gateway and Redis on this machine, and a reply whose silo is killed in mid-sentence: watch it go on. Needs the .NET SDK and redis-server.
#   deploy/demo-failover.sh [MODEL]               # PROBE=10 in the environment: as slow to notice a death as in production
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-smollm2-135m-instruct}
command -v redis-server >/dev/null || { echo "redis-server is needed (Debian: apt-get install redis-server)" >&2; exit 2; }
work=$(mktemp -d) pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

echo "Building ..."
dotnet build silo/LongCtx.Silo -c Release --nologo -v quiet -clp:NoSummary
silo="dotnet silo/LongCtx.Silo/bin/Release/net10.0/LongCtx.Silo.dll"
redis-server --port 7379 --bind 127.0.0.1 --dir "$work" --appendonly yes --appendfsync everysec --save '' >"$work/redis.log" & pids+=($!)
start() { # NAME NUMBER OPTIONS...
  local name=$1 number=$2; shift 2
  $silo --redis 127.0.0.1:7379 --durability relaxed --cluster demo --probe-seconds "${PROBE:-1}" --sweep-seconds "${PROBE:-1}" --silo-port $((12000 + number)) --gateway-port $((13000 + number)) \
    --urls http://127.0.0.1:$((8090 + number)) --data "$work/$name" --log error "$@" >"$work/$name.log" 2>&1 &
  pids+=($!)
  eval "${name}_pid=$!"
  disown
}
start silo1 1 --model "$model" --threads 1
start silo2 2 --model "$model" --threads 1
start gateway 0 --role gateway
gateway=http://127.0.0.1:8090
for name in silo1 silo2 gateway; do
  for _ in $(seq 60); do grep -q journal "$work/$name.log" && break; sleep 0.5; done
  grep -q journal "$work/$name.log" || { cat "$work/$name.log" >&2; exit 1; }
done
sleep 2 # until the gateway has heard of the silos' models
post() { curl -sf -X POST "$gateway$1" -H 'Content-Type: application/json' -d "$2"; }
id=$(post /v1/conversations '{}' | sed 's/.*"id":"\(conv_[0-9a-f]*\)".*/\1/')
post /v1/responses "{\"conversation\":\"$id\",\"input\":\"Tell me a long story about the sea.\",\"background\":true,\"max_output_tokens\":600,\"temperature\":0.8}" >/dev/null
echo "Conversation $id on $gateway. The silo that answers is killed after 2 seconds."
(
  sleep 2
  victim=$(curl -sf "http://127.0.0.1:8091/metrics" | grep -q '^longctx_running 1' && echo silo1 || echo silo2) # the one that computes
  pid=${victim}_pid
  kill -9 "${!pid}"
  printf '\n\033[31m[%s is dead]\033[0m\n' "$victim"
) &
last=$(date +%s%N)
curl -sfN "$gateway/v1/conversations/$id/events" | while IFS= read -r line; do
  case $line in
    data:*'"kind":"delta"'* | data:*'"kind":"completed"'*)
      now=$(date +%s%N)
      [ $(((now - last) / 1000000)) -gt 1500 ] && printf '\n\033[32m[after %s ms another silo goes on, from the last stored token]\033[0m\n' $(((now - last) / 1000000))
      last=$now
      text=$(sed -E 's/.*"text":"(([^"\\]|\\.)*)".*/\1/' <<<"$line")
      printf '%b' "${text//\\\"/\"}"
      [[ $line == *'"kind":"completed"'* ]] && { echo; echo; echo "Done: nothing is missing, nothing came twice."; break; } || true
      ;;
  esac
done
