"""Plain-text tables."""

from __future__ import annotations

from sfm_ros.evaluation.tables import format_table


def test_first_column_is_flush_left_and_the_others_flush_right() -> None:
    table = format_table([["", "run a", "b"], ["frames", "9", "10"], ["t_err", "–", ""]])
    assert table.splitlines() == ["        run a   b", "frames      9  10", "t_err       –"]
