"""Lecture 1: what it says of dependencies and of runs that are repeated."""

from typing import Any


def test_three_checks_fan_out_and_join(snippet: Any) -> None:
    run = snippet("l01_fan_out").run()
    assert run.state == "success"
    assert run.states["check__1"] == "success"
    assert run.one("publish").returned == 14 + 14 + 13
