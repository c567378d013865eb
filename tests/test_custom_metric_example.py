from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "custom_metric"


def test_the_example_measures_what_its_page_says(run_tach, tach_run_dir) -> None:
    """The worked example runs as it stands, its numbers are right, and its page shows its code."""
    done = run_tach(EXAMPLE / "tach.yaml", "python", EXAMPLE / "program.py")
    [line] = [each for each in done.stderr.splitlines() if "mb_per_s" in each]

    assert (done.returncode, done.stdout) == (0, "skipped: nothing to send\nsent 4 files\n")
    assert line.startswith("backup.send: ")
    assert line.endswith(", large 2")
    slowest_to_fastest = re.search(r"mb_per_s mean ([\d.]+) p99 ([\d.]+) max ([\d.]+)", line)
    assert slowest_to_fastest is not None
    assert 0 < float(slowest_to_fastest[3]) <= 100
    assert list(tach_run_dir.iterdir()) == []

    page = (ROOT / "docs" / "writing-a-metric.md").read_text()
    for name in ("throughput.py", "tach.yaml"):
        assert (EXAMPLE / name).read_text().strip() in page
