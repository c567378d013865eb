"""docs/developers.md: the commands that need two terminals."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pages

SERVICE = """
import time
def answer(): time.sleep(0.01)
while True: answer()
"""


def test_top_shows_a_running_service(
    processes: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    """While the one command of the page runs, the other shows what it does at the moment."""
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "tach.yaml").write_text("targets: {answer: '__main__:answer'}\n")
    start, look = (
        shlex.split(each)
        for each in pages.commands_in(pages.ROOT / "docs/developers.md", "tach")[-2:]
    )
    service = processes.start(start, env=environment, cwd=tmp_path)

    def looked() -> str:
        return subprocess.run(
            [*look, "--times", "1"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout

    while not (found := re.search(r"^answer +([\d.]+) ", looked(), re.MULTILINE)):
        assert service.poll() is None
    assert 0 < float(found[1]) <= 100
    service.kill()
