"""A second Ctrl-C ends every program, even while ONNX Runtime computes and never returns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
from endless_models import write_endless_bundle
from limited import ROOT
from small_bags import HEIGHT, WIDTH, image, write

ENDED = "ended at once by a second signal"
_TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_endless_bundle(tmp_path_factory.mktemp("endless") / "bundle")


@pytest.fixture
def start():
    """Starts programs; one that is left over would slow every later test."""
    processes: list[subprocess.Popen[str]] = []

    def run(*command: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_network(process: subprocess.Popen[str]) -> None:
    """Wait until the main thread runs the network."""
    deadline = time.monotonic() + 120
    while "onnxruntime" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    compute(process, 3.0)  # far more than loading takes


def compute(process: subprocess.Popen[str], seconds: float) -> None:
    """Wait until the main thread has computed for so long."""
    start, deadline = main_thread_s(process.pid), time.monotonic() + 120
    while main_thread_s(process.pid) < start + seconds:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def main_thread_s(pid: int) -> float:
    text = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(text[11]) + int(text[12])) / _TICKS


def assert_second_signal_ends(process: subprocess.Popen[str]) -> None:
    """The main thread goes on computing after the first Ctrl-C; the second one ends it."""
    process.send_signal(signal.SIGINT)
    compute(process, 0.4)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 130, error
    assert ENDED in error and "Traceback" not in error


def test_an_evaluation_with_an_endless_network_ends(tmp_path, bundle, start):
    for index in range(6):
        cv2.imwrite(str(tmp_path / f"{index}.png"), image(index))
    K = tmp_path / "K.txt"
    K.write_text(f"40 0 {(WIDTH - 1) / 2} 0 40 {(HEIGHT - 1) / 2} 0 0 1")
    process = start(
        *("-m", "sfm_ros.cli.evaluate", "bag", "--images", tmp_path, "--calib", K),
        *("--model", bundle, "--out", tmp_path / "out", "--threads", 1),
    )
    wait_for_network(process)
    assert_second_signal_ends(process)
    assert not (tmp_path / "out" / "summary.json").exists()


def test_the_doctor_with_an_endless_network_ends(tmp_path, bundle, start):
    bag = write(tmp_path / "bag", [])
    process = start("-m", "sfm_ros.ros.doctor", "--bag", bag, "--model", bundle)
    wait_for_network(process)
    assert_second_signal_ends(process)


PROGRAM = """
import sys, numpy
import onnxruntime
import {module} as module
def compute(*_):
    session = onnxruntime.InferenceSession(sys.argv.pop())
    images = numpy.zeros(session.get_inputs()[0].shape, numpy.uint8)
    print("computing", flush=True)
    session.run(None, {{"rgb": images}})
module.{function} = compute
module.main()
"""


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("sfm_ros.cli.evaluate", "parse"),
        ("sfm_ros.cli.demo", "parse"),
        ("sfm_ros.cli.kitti_to_bag", "parse"),
        ("sfm_ros.ros.doctor.command", "_parse"),
        ("training.prepare", "parse"),
        ("training.train", "parse"),
        ("training.export", "_parse"),
        ("training.evaluate_pose", "_parse"),
        ("training.evaluate_depth", "add_model_options"),
        ("training.plot", "_parse"),
    ],
)
def test_every_program_ends_with_the_second_signal(bundle, module, function, start):
    code = PROGRAM.format(module=module, function=function)
    process = start("-c", code, bundle / "depth.onnx")
    assert process.stdout is not None and process.stdout.readline() == "computing\n"
    compute(process, 0.2)
    assert_second_signal_ends(process)


CHILDREN = """
import multiprocessing, pathlib, subprocess, sys, time
from sfm_ros.cli.program import run_program
from sfm_ros.evaluation.runs.processes import ProcessGroup
from sfm_ros.safety.interrupts import guard
def run():
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,)).start()
    with ProcessGroup(pathlib.Path(sys.argv[1])) as group:
        for name in ("ended", "running"):
            # Deaf children: their orderly end takes longer than anybody waits.
            group.start(name, [sys.executable, "-c", "import signal, time\\n"
                "signal.signal(2, signal.SIG_IGN); signal.signal(15, signal.SIG_IGN)\\n"
                "print('ready', flush=True)\\n" + "time.sleep(1000)" * (name == "running")])
        child = multiprocessing.active_children()[0]
        print(group.pid("running"), child.pid, flush=True)
        time.sleep(1000)
guard("a program")
sys.exit(run_program("a program", run, "interrupted"))
"""


def test_children_do_not_outlive_the_program(tmp_path, start):
    process = start("-c", CHILDREN, tmp_path)
    assert process.stdout is not None
    children = list(map(int, process.stdout.readline().split()))
    wait_for(lambda: "ready" in (tmp_path / "running.log").read_text())
    process.send_signal(signal.SIGINT)
    # The group waits for its children; a third signal is needed if these two are one.
    deadline = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    for pid in children:
        wait_for(lambda pid=pid: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


REPEATED = """
import os, signal, sys, time
from sfm_ros.safety.interrupts import guard
guard("a program")
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(100)
except KeyboardInterrupt:
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(100)
    except KeyboardInterrupt:
        print("ended in order")
        sys.stdout.flush()
        os._exit(7)
"""


def test_a_signal_that_comes_twice_at_once_leaves_time_to_end(start):
    process = start("-c", REPEATED)
    output, error = process.communicate(timeout=60)
    assert (process.returncode, output, error) == (7, "ended in order\n", "")
