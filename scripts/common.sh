# Sourced by demo.sh and test.sh: makes or reuses their virtual environment.
#
#   SFM_VENV    folder of the environment (default: .venv in the repository)
#   SFM_PYTHON  the Python to make it with (default: the first of python3 ... from 3.10 to 3.13)
set -euo pipefail

SFM_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
SFM_VENV="${SFM_VENV:-$SFM_ROOT/.venv}"

# A sourced ROS installation and the wheels of the environment must not be mixed.
unset PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
if [ -n "${ROS_DISTRO:-}" ]; then
  unset LD_LIBRARY_PATH ROS_DISTRO
fi

log() { printf '[setup] %s\n' "$*" >&2; }
fail() { printf '[setup] ERROR: %s\n' "$*" >&2; exit 1; }

# Succeeds if "$1" runs (a version manager's shim may not) and can make an environment.
usable_python() {
  "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' \
    >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in ${SFM_PYTHON:-python3 python3.12 python3.11 python3.13 python3.10 python}; do
    if usable_python "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  fail "no usable Python 3.10 to 3.13 (python3 is: $(python3 --version 2>&1 || true)); install" \
    "one with its venv module (Debian, Ubuntu: apt install python3-venv) or set SFM_PYTHON"
}

check_platform() {
  [ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || fail "the ROS 2 wheels exist for Linux x86_64" \
    "only, this is $(uname -s) $(uname -m); install ROS 2 and use the colcon build of README.md"
}

# A hash of everything that is installed.
fingerprint() {
  { "$SFM_VENV/bin/python" --version
    echo "$SFM_ROOT" "$@"
    find "$SFM_ROOT"/{requirements,third_party,setup.py,setup.cfg,package.xml} \
      -type f -not -path '*/build/*' -print0 2>/dev/null | sort -z | xargs -0 cat
  } | sha256sum | cut -d ' ' -f 1
}

# Python compiles modules when it imports them; compiling all of them here would only delay.
export PIP_NO_COMPILE=1

pip_run() {
  "$SFM_VENV/bin/python" -m pip --disable-pip-version-check -qq "$@"   # -qq: errors only
}

# Builds the TF message package while pip installs the rest; writes only below "$1".
build_tf2_msgs() {
  if ! command -v "${CXX:-g++}" >/dev/null; then
    echo "there is no g++ (Debian, Ubuntu: apt install g++ python3-dev)" >"$1/log"
    return 1
  fi
  pip_run wheel --no-deps --wheel-dir "$1" "$SFM_ROOT/third_party/tf2_msgs" >"$1/log" 2>&1
}

# install_environment SET...: the requirement files requirements/SET.txt, TF messages, this package.
install_environment() {
  local wheels build requirements=() set
  wheels="$(mktemp -d)"
  build_tf2_msgs "$wheels" &
  build=$!
  for set in "$@"; do requirements+=(-r "$SFM_ROOT/requirements/$set.txt"); done
  pip_run install -c "$SFM_ROOT/requirements/constraints.txt" "${requirements[@]}" \
    || fail "pip could not install requirements/{$*}.txt; its message is above"
  pip_run install --no-deps --editable "$SFM_ROOT" || fail "pip could not install the package itself"
  if wait "$build"; then
    pip_run install --no-deps --force-reinstall "$wheels"/*.whl
  else
    log "WARNING: the TF messages could not be built; the node runs without /tf. The reason:"
    tail -n 15 "$wheels/log" >&2
  fi
  rm -rf "$wheels"
}

# prepare_environment NAME SET...: an environment with these sets; instant if nothing changed.
prepare_environment() {
  local name="$1" stamp now started=$SECONDS
  shift
  check_platform
  mkdir -p "$SFM_VENV"
  exec 9>"$SFM_VENV/.lock"   # two scripts at once take turns
  if command -v flock >/dev/null; then flock 9; fi
  if ! usable_python "$SFM_VENV/bin/python"; then
    local python
    python="$(find_python)"
    log "making $SFM_VENV with $python ($("$python" --version))"
    "$python" -m venv --clear "$SFM_VENV" || fail "python -m venv failed; its message is above"
  fi
  stamp="$SFM_VENV/.sfm-$name"
  now="$(fingerprint "$@")"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$now" ]; then
    log "installing requirements/{$*}.txt (one to two minutes, once)"
    install_environment "$@"
    echo "$now" >"$stamp"
    log "ready after $((SECONDS - started)) s"
  fi
  exec 9>&-
}
