#!/usr/bin/env bash
# The tests under other instruction sets and numbers of threads, as other processors have them:
# what asks for bits across two different computations fails in one of these rows.
#
#     scripts/instruction_sets.sh                     # all tests, the slow ones too: three hours on two cores (a row takes 25 minutes)
#     scripts/instruction_sets.sh -m "not slow"       # words go to pytest
#
# Each pair of values of the three settings stands in at least one row; "-" leaves a setting to the machine.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export WANDB_MODE=offline NO_ALBUMENTATIONS_UPDATE=1 HF_HUB_OFFLINE=1
python="${PYTHON:-.venv/bin/python}"
failed=0

run() {
  local kernels="$1" onednn="$2" threads="$3"
  shift 3
  local settings=("OMP_NUM_THREADS=$threads")
  [ "$kernels" = - ] || settings+=("ATEN_CPU_CAPABILITY=$kernels")
  [ "$onednn" = - ] || settings+=("ONEDNN_MAX_CPU_ISA=$onednn")
  printf '%-8s  %-6s  %s threads  ' "$kernels" "$onednn" "$threads"
  local log
  log="$(mktemp)"
  if ! env "${settings[@]}" "$python" -m pytest -q "$@" >"$log" 2>&1; then
    failed=1
  fi
  tail -n 1 "$log"
  grep -E '^(FAILED|ERROR)' "$log"
  rm -f "$log"
}

grep -m1 'model name' /proc/cpuinfo
run - - 1 "$@"
run avx2 - 2 "$@"
run default - 1 "$@"
run - SSE41 2 "$@"
run avx2 SSE41 1 "$@"
run default SSE41 2 "$@"
run default SSE41 1 "$@"
exit $failed
