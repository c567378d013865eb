from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from event_runs import EventRun

from tach import spool
from tach.agent.spool import SpoolWriter
from tach.sender.spool_files import SpoolFile

BODY = b'{"a":1}' * 100


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 64 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    if os.getuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("to mount a file system takes root, and the right to")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def append(writer: SpoolWriter, count: int) -> None:
    """Write so many records."""
    for number in range(count):
        writer.append(spool.SINGLE, number, BODY)


def written(place: Path) -> int:
    """The whole records below a directory."""
    found = 0
    for each in place.glob("*.spool"):
        with closing(SpoolFile(str(place), each.name)) as file:
            found += sum(record.kind == spool.SINGLE for record in file.records(complete=True))
    return found


def test_every_record_is_written_or_counted(small: Path) -> None:
    """What a full disk costs is said at the first record, at each power of ten, and at the end."""
    troubles: list[str] = []
    writer = SpoolWriter(str(small), "1-2-abc", 16 << 10, False, troubles.append)
    append(writer, 500)
    lost = 500 - written(small)
    assert 380 < lost < 500
    what = f"spool {small} did not take them"
    first = f"spool {small}: events are lost: "
    assert troubles[0] in (f"{first}No space left on device", f"{first}the disk is full")
    assert troubles[1:] == [f"10 events lost so far: {what}", f"100 events lost so far: {what}"]

    for each in list(small.iterdir())[1:]:
        each.unlink()
    troubles.clear()
    before = written(small)
    append(writer, 5)
    assert written(small) == before + 5
    assert troubles == []
    append(writer, 100)
    assert [each.startswith(first) for each in troubles] == [True]  # it had been well in between


def test_a_forked_child_counts_its_own(tmp_path: Path) -> None:
    """What the parent lost is not said again by its children."""
    troubles: list[str] = []
    writer = SpoolWriter(str(tmp_path / "missing"), "1-2-abc", 1 << 20, False, troubles.append)
    append(writer, 12)
    writer.after_fork("3-4-abc")
    append(writer, 10)

    first = f"spool {tmp_path}/missing: events are lost: No such file or directory"
    ten = f"10 events lost so far: spool {tmp_path}/missing did not take them"
    assert troubles == [first, ten, first, ten]


CALLS = "print(sum(calls.Worker().work(1) for i in range(1500)))"


def lost_in(events: EventRun) -> int:
    """The greatest count that the report of a run gives."""
    found = [re.match(r"(\d+) events lost", each) for each in events.report.troubles()]
    return max(int(each[1]) for each in found if each)


def test_a_full_disk_loses_nothing_uncounted(
    run_tach: Any, tmp_path: Path, tach_run_dir: Path, small: Path
) -> None:
    """Each event of a run arrives or is in the report's count; the program is unharmed."""
    events = EventRun(tmp_path, tach_run_dir)
    config = events.config(spool={"directory": str(small / "spool")})
    done = run_tach(config, events.program(CALLS))

    assert (done.returncode, done.stdout, done.stderr) == (0, "1500\n", "")
    told = [each for each in events.messages() if "unfinished" not in each["payload"]]
    assert 0 < len(told) < 3000
    assert lost_in(events) == 3000 - len(told)
    assert events.report.calls()["work"] == 1500


def test_a_read_only_spool_loses_nothing_uncounted(
    run_tach: Any, tmp_path: Path, tach_run_dir: Path, small: Path
) -> None:
    """Where no event can be written, all are counted; all else is measured."""
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    events = EventRun(tmp_path, tach_run_dir)
    config = events.config(spool={"directory": str(small / "spool")})
    done = run_tach(config, events.program(CALLS))

    assert (done.returncode, done.stdout, done.stderr) == (0, "1500\n", "")
    assert lost_in(events) == 3000
    assert events.report.calls()["work"] == 1500
