#!/usr/bin/env bash
# Measures everything that docs/benchmarks.md tells, and writes the figures and plots into it.
#
#   bash benches/measure.sh             build for release, and measure: about ten minutes on two cores
#   bash benches/measure.sh PROGRAM     measure that program
#   QUICK=1 bash benches/measure.sh …   a second of everything: to see that it works, not for figures
#
# Nothing else should run on the machine meanwhile. The reports stay as JSON in target/benchmarks, to be compared with
# those of another time: openclaw-server bench compare target/benchmarks/01-stream.json NEW.json
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -gt 0 ]; then
  program=$1
else
  cargo build --release --locked --bin openclaw-server
  program=${CARGO_TARGET_DIR:-target}/release/openclaw-server
fi
into=target/benchmarks
mkdir -p "$into"
rm -f "$into"/*.json

reports=()
# NAME SECONDS TITLE and the options of the run.
measure() {
  local name=$1 seconds=$2 title=$3
  shift 3
  [ -z "${QUICK:-}" ] || seconds=1
  printf '%4s s  %s\n' "$SECONDS" "$title"
  "$program" bench "$@" --duration "$seconds" --title "$title" --json >"$into/$name.json"
  reports+=("$into/$name.json")
}

idle=2000 backlog=20000
[ -z "${QUICK:-}" ] || { idle=50 backlog=400; }

measure 01-stream 20 'Streamed answers, beside a bare handler' --against-bare
measure 02-ramp 5 'Streamed answers at rising rates: the knee' --ramp --rate 50
measure 03-websocket 12 'Streamed answers over WebSockets' --protocol websocket --scenario long
measure 04-openai 12 'Streamed answers in the OpenAI dialect' --protocol openai
measure 05-long 12 'Long conversations' --scenario long
measure 06-accept 10 'Durable accepts, beside bare commits' --scenario accept --against-bare
measure 07-knowledge 12 'Articles written, found and answered from' --scenario knowledge --concurrency 4
measure 08-resume 10 'Streams cut and resumed' --scenario resume
measure 09-slow 10 'Streams beside slow readers' --scenario slow-readers
measure 10-restart 10 'Kills under load' --scenario restart
measure 11-idle 5 'Idle streams, and a restart under them' --scenario idle --concurrency "$idle"
measure 12-webhooks 8 'Webhook deliveries, beside a bare loop' --scenario webhooks --backlog "$backlog" --against-bare

# Plots of runs that there are no more.
rm -f docs/benchmarks/*.svg
"$program" bench page --out docs/benchmarks.md "${reports[@]}"
printf '%4s s  docs/benchmarks.md is written\n' "$SECONDS"
