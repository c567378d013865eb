"""Compares a run of Nova without tach and one with it: compare.py PLAIN TACH.

Each is the directory that `run` has filled. Prints what it finds, and ends with 1 if something
differs that must not.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from functions import HERE, targets

SERVICES = ("nova-compute", "nova-conductor", "nova-scheduler", "nova-api")
OURS = ("tach.", "nova.")  # events, and the metrics on the bus
# Methods that a class has from its base, whose source the tally decorates.
INHERITED = {
    "nova.virt.fake:FakeDriver.get_host_uptime": "nova.virt.driver:ComputeDriver.get_host_uptime",
    "nova.compute.manager:ComputeManager.periodic_tasks": "nova.manager:Manager.periodic_tasks",
}
# Lines that depend on what a periodic task finds at the moment, on a connection kept alive, or on
# what is under way when a service is told to end. A periodic task whose turn comes then fails: Nova
# 34 returns None from it.
TIMELY = re.compile(
    r"During sync_power_state|synchronizing instance power states|Unable to establish connection"
    r"|has allocations against this compute host|is not being actively managed by this compute host"
    r"|ERROR oslo\.service\.backend\._threading\.loopingcall|Graceful shutdown"
)
PLACEHOLDER = re.compile(r"\\\{[^}]*\\\}")
# What is another one in each run.
VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|req-[0-9a-f-]+|0x[0-9a-f]+|\b[0-9a-f]{32}\b|\d+(\.\d+)?"
)
ENDS = {
    "tach.instance.build": "compute.instance.create",
    "tach.instance.terminate": "compute.instance.delete",
    "tach.instance.start": "compute.instance.power_on",
    "tach.instance.stop": "compute.instance.power_off",
    "tach.instance.reboot": "compute.instance.reboot",
}

failures: list[str] = []


def say(good: bool, text: str) -> None:
    """A line, kept as a failure if it is not good."""
    print("same  " if good else "DIFFER", text)
    if not good:
        failures.append(text)


def states(run: Path) -> Counter[str]:
    """What the client of the API saw, without ids and times."""
    lines = (run / "boot.out").read_text().splitlines()
    return Counter(VARYING.sub("#", line).strip() for line in lines)


def bus(run: Path) -> list[dict[str, Any]]:
    """The notifications that the listener received."""
    return [json.loads(line) for line in (run / "bus.jsonl").read_text().splitlines()]


def kinds(run: Path) -> Counter[str]:
    """How often Nova has sent notifications of each kind."""
    return Counter(
        each["event_type"] for each in bus(run) if not each["event_type"].startswith(OURS)
    )


def log(run: Path, service: str) -> Counter[str]:
    """The lines of a service's log without times, numbers and ids."""
    lines = (run / f"{service}.log").read_text().splitlines()
    return Counter(VARYING.sub("#", line[24:]) for line in lines)


def tally(run: Path, service: str) -> Counter[str]:
    """The calls of each function as they counted themselves."""
    return Counter((run / f"{service}.tally").read_text().split())


def report(run: Path, service: str) -> list[dict[str, Any]]:
    """What tach says at the end."""
    return [json.loads(line) for line in (run / f"{service}.json").read_text().splitlines()]


def measured(run: Path) -> list[str]:
    """The services that tach has measured: later Novas have no program nova-api."""
    return [each for each in SERVICES if (run / f"{each}.json").exists()]


def series(run: Path, service: str) -> dict[str, Any]:
    """What tach says of each series, by its name without the prefix."""
    component = service.removeprefix("nova-")
    rows = [each for each in report(run, service) if "series" in each]
    return {each["series"].split(f".{component}.", 1)[-1]: each for each in rows}


def calls(run: Path, service: str, target: str) -> int:
    """What tach has counted of the target, all its series together."""
    pattern = re.compile(PLACEHOLDER.sub("[^.]+", re.escape(target)))
    found = series(run, service).items()
    return sum(row["calls"] or 0 for name, row in found if pattern.fullmatch(name))


def taken_before(run: Path, service: str) -> set[str]:
    """The targets of which tach says that somebody holds the unmeasured function."""
    troubles = [each.get("trouble", "") for each in report(run, service)]
    return {text.partition(":")[0] for text in troubles if "had been taken by" in text}


def compare_services(plain: Path, tach: Path) -> None:
    """Exit statuses, states, notifications and logs."""
    for service in SERVICES:
        if not (plain / f"{service}.exit").exists():
            print(f"       {service} is not started as a program here")
            continue
        exits = [(run / f"{service}.exit").read_text().strip() for run in (plain, tach)]
        say(exits[0] == exits[1], f"{service} exits with {' and '.join(exits)}")
        before, after = log(plain, service), log(tach, service)
        more = [line for line in after if line not in before]
        less = [line for line in before if line not in after]
        serious = [line for line in more + less if not TIMELY.search(line)]
        say(not serious, f"{service}.log: {len(after)} different lines")
        for line in more:
            print("         only with tach:", line[:180])
        for line in less:
            print("         only without:", line[:180])
    say(states(plain) == states(tach), f"answers of the API: {states(tach).total()}")
    ours, theirs = kinds(plain), kinds(tach)
    say(ours == theirs, f"notifications of Nova: {ours.total()} and {theirs.total()}")
    for kind in sorted(ours | theirs):
        if ours[kind] != theirs[kind]:
            print(f"         {kind}: {ours[kind]} and {theirs[kind]}")


def compare_counts(tach: Path) -> None:
    """Each target against the calls that its function has counted itself."""
    for service in measured(tach):
        counted = tally(tach, service)
        taken = taken_before(tach, service)
        compared: list[int] = []
        for target, function in targets(HERE / f"{service}.yaml").items():
            mine = calls(tach, service, target)
            made = counted[INHERITED.get(function, function)]
            if mine == made:
                compared += [mine] if mine else []
            elif target in taken:
                print(f"       {service} {target}: {mine} of {made}, which tach says itself")
            else:
                say(False, f"{service} {target}: {mine}, but {made} were made")
        say(True, f"{service}: {len(compared)} targets called, {sum(compared)} calls counted")
        for each in report(tach, service):
            if "series" not in each:
                print("        ", json.dumps(each)[:220])


def compare_events(tach: Path) -> None:
    """The notifications of tach against those of Nova about the same."""
    found = Counter(each["event_type"] for each in bus(tach))
    for ours, theirs in ENDS.items():
        for end in (".start", ".end"):
            same = found[ours + end] == found[theirs + end]
            text = f"{ours}{end}: {found[ours + end]}, {theirs}{end}: {found[theirs + end]}"
            say(same, text)
    builds = {
        (each["request_id"], each["payload"].get("instance_id"), each["payload"].get("tenant_id"))
        for each in bus(tach)
        if each["event_type"] in ("compute.instance.create.end", "tach.instance.build.end")
    }
    say(len(builds) == 3, f"instance, tenant and request of the builds: {len(builds)}")


def compare_received(tach: Path) -> None:
    """What statsd and carbon received against the report."""
    received = json.loads((tach / "received.json").read_text())
    for service in measured(tach):
        rows = [each for each in series(tach, service).values() if each["calls"]]
        wrong = [
            f"{each['series']}: {received.get(each['series'] + '.calls')}"
            for each in rows
            if received.get(each["series"] + ".calls") != each["calls"]
        ]
        say(not wrong, f"{service}: {len(rows)} series received {' '.join(wrong)}")


def main(plain: str, tach: str) -> int:
    """Compare; 1 if something differs."""
    compare_services(Path(plain), Path(tach))
    compare_counts(Path(tach))
    compare_events(Path(tach))
    compare_received(Path(tach))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
