#!/usr/bin/env bash
# Sets up everything and runs all checks of a change. Arguments go to pytest: scripts/test.sh -k geometry
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
prepare_environment test ros-jazzy runtime train dev rtx
cd "$SFM_ROOT"

failed=()
check() {
  local name="$1"
  shift
  printf '\n== %s\n' "$name"
  "$@" || failed+=("$name")
}

bin="$SFM_VENV/bin"
check lint "$bin/ruff" check .
check format "$bin/ruff" format --check .
check types "$bin/mypy" sfm_ros training
# Two files at a time, each with a core: pools of threads that share cores slow each other down.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
check tests "$bin/python" -m pytest -n 2 --dist loadfile "$@"

if [ ${#failed[@]} -gt 0 ]; then
  printf '\nFAILED: %s\n' "${failed[*]}"
  exit 1
fi
printf '\nall passed: lint, format, types, tests\n'
