#!/usr/bin/env bash
# Prints what the engines do on a machine with an NVIDIA GPU: build, parity, latency, accuracy.
#
#   scripts/gpu_figures.sh [MODEL...]     default: the shipped model, which has FP32 graphs only;
#                                         training/add_variants.py adds FP16 and INT8 to a copy
#
#   PYTHON  the Python of an environment with this package, cuda-bindings, and TensorRT,
#           TensorRT-RTX or onnxruntime-gpu (default: python3)
#   OUT     folder of the results (default: gpu_figures)
#
# A part that fails is reported, and the next one runs.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python="${PYTHON:-python3}"
out="${OUT:-gpu_figures}"
models=("${@:-default}")
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

part() {
  local name="$1"
  shift
  printf '\n== %s\n' "$name"
  "$@" 2>&1 | tee "$out/$name.txt"
  local code="${PIPESTATUS[0]}"
  [ "$code" -eq 0 ] || printf '== %s: exit code %s\n' "$name" "$code"
}

part device nvidia-smi
for model in "${models[@]}"; do
  short="$(basename "$model")"
  for precision in fp32 fp16 int8; do
    part "build_${short}_$precision" \
      "$python" -m sfm_ros.cli.build_engine "$model" --precision "$precision"
    part "cuda_graph_${short}_$precision" \
      "$python" benchmarks/cuda_graph.py --model "$model" --precision "$precision"
  done
  part "engines_$short" "$python" benchmarks/engines.py --model "$model" --json "$out/$short.json"
done
part cache "$python" -m sfm_ros.cli.build_engine --list
printf '\nresults: %s\n' "$out"
