#!/usr/bin/env bash
# Sets up the run time, without training packages, and runs the demo: scripts/demo.sh --help
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
prepare_environment runtime ros-jazzy runtime
exec "$SFM_VENV/bin/python" -m sfm_ros.cli.demo "$@"
