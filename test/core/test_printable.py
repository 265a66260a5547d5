"""Texts of others stay on one line of bounded length, whatever they contain."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sfm_ros.datatypes import MAX_FRAME_ID, is_frame_id
from sfm_ros.doctor.finding import as_json, as_text, ok, warn
from sfm_ros.errors import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("camera Ω", "camera Ω"),
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202eevil", "\\u202eevil"),
        (ValueError("x\r"), "x\\r"),
    ],
)
def test_control_characters_are_escaped(text: object, shown: str) -> None:
    assert printable(text) == shown


def test_any_text_is_printable_and_short() -> None:
    rng = np.random.default_rng(3)
    for _ in range(500):
        codes = rng.integers(0, 0x3000, rng.integers(0, 200))
        limit = int(rng.integers(30, 150))
        shown = printable("".join(map(chr, codes)), limit)
        assert shown.isprintable() and len(shown) <= limit


def test_what_is_left_out_is_noted() -> None:
    shown = printable("x" * 5_000_000, 100)
    assert len(shown) == 100 and shown.endswith("... (5000000 characters)")


@pytest.mark.parametrize(
    ("name", "is_good"),
    [("camera Ω", True), ("", True), ("a" * MAX_FRAME_ID, True), ("a\n", False), ("\x1b", False),
     ("a" * (MAX_FRAME_ID + 1), False)],
)  # fmt: skip
def test_frame_ids_are_short_and_printable(name: str, is_good: bool) -> None:
    assert is_frame_id(name) is is_good


def test_findings_show_no_raw_text_of_others() -> None:
    evil = "\x1b]0;owned\x07\nOK    everything: is fine"
    findings = [warn(f"topic {evil}", evil, evil), ok("frames", "x" * 1_000_000)]
    text = as_text(findings)
    assert text.count("\n") == len(findings) and len(text) < 10_000
    assert all(line.isprintable() for line in text.splitlines())
    shown = json.loads(as_json("bag", findings))["checks"][0]["found"]
    assert shown.isprintable()


def test_findings_without_end_are_counted() -> None:
    lines = as_text([ok("a", str(index)) for index in range(10_000)]).splitlines()
    assert len(lines) < 300 and lines[-2] == "... and 9800 more" and "10000 OK" in lines[-1]
