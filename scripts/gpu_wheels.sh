#!/usr/bin/env bash
# Brings the wheels that a CUDA machine without a network lacks into .wheels/, and prints the line that installs them there.
#
#     scripts/gpu_wheels.sh      # here, with a network; on any processor
#
# The machine: Python 3.12, x86-64, glibc 2.35 or newer, with the packages of scripts/gpu_machine.txt. Versions are those
# of constraints.txt. Git ignores .wheels/: carry it by its name beside the checkout's files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-.venv/bin/python}"
limit=60000000 # bytes
wheels=(
  hydra-core omegaconf segmentation-models-pytorch albumentations albucore stringzilla simsimd kornia kornia-rs
  pydantic pydantic-core annotated-types typing-inspection typing-extensions
  wandb platformdirs cwevals distro sniffio googleapis-common-protos
  opentelemetry-api opentelemetry-sdk opentelemetry-proto opentelemetry-semantic-conventions
  opentelemetry-exporter-otlp-proto-http opentelemetry-exporter-otlp-proto-common
  opentelemetry-exporter-otlp-common opentelemetry-exporter-http-transport
)
sources=(antlr4-python3-runtime) # published without a wheel

fail() {
  echo "error: $*" >&2
  exit 1
}

# The line of constraints.txt that names a package, whichever way its name is written there.
pinned() {
  grep -ix -m1 "${1//-/[-_.]}==.*" constraints.txt || fail "constraints.txt has no version of $1: renew it (CONTRIBUTING.md)"
}

# pip, whose last line of error is the one that is shown.
pip() {
  "$python" -m pip "$@" >"$work/log" 2>&1 || fail "pip $1, or no network: $(sed -nE 's/^ *error: //Ip' "$work/log" | tail -n 1)"
}

command -v "$python" >/dev/null || fail "no Python at $python: run make venv, or set PYTHON"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

platforms=()
for minor in {35..17}; do
  platforms+=(--platform "manylinux_2_${minor}_x86_64")
done
platforms+=(--platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --platform manylinux1_x86_64)

pins=()
for name in "${wheels[@]}"; do
  pins+=("$(pinned "$name")")
done
pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" \
  --dest "$work/wheels" "${pins[@]}"
for name in "${sources[@]}"; do
  pin="$(pinned "$name")"
  pip wheel --no-deps --wheel-dir "$work/wheels" "$pin"
done

"$python" scripts/wheel_closure.py "$work/wheels" scripts/gpu_machine.txt
bytes="$(cat "$work"/wheels/*.whl | wc -c)"
[ "$bytes" -lt "$limit" ] || fail "the wheels take $bytes bytes, the limit is $limit: take some off the list in scripts/gpu_wheels.sh"
rm -rf .wheels
mv "$work/wheels" .wheels

cat <<END
.wheels: $((bytes / 1000000)) MB. On the machine, in the checkout with .wheels in it:

python3 -m pip install -q --no-index --no-deps --no-compile --upgrade --target /tmp/site .wheels/*.whl && export PYTHONPATH=/tmp/site:\$PWD WANDB_MODE=offline NO_ALBUMENTATIONS_UPDATE=1 HF_HUB_OFFLINE=1

then, to check versions there: python3 scripts/wheel_closure.py .wheels
END
