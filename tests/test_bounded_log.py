"""What the sender writes down of itself."""

from __future__ import annotations

import logging
from pathlib import Path

from tach.sender.bounded_log import BoundedLog


def test_the_log_takes_no_more_than_twice_its_limit(tmp_path: Path) -> None:
    """The newest lines are there, the oldest gone, and no line is torn."""
    handler = BoundedLog(str(tmp_path / "sender.log"), limit=10_000)
    for number in range(10_000):
        handler.emit(logging.LogRecord("tach", logging.INFO, "", 0, f"line {number}", None, None))
    handler.close()

    first, second = tmp_path / "sender.log.1", tmp_path / "sender.log"
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 2 * 10_100
    lines = (first.read_text() + second.read_text()).splitlines()
    assert lines == [f"line {number}" for number in range(10_000 - len(lines), 10_000)]
    assert len(lines) > 500
