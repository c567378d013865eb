"""All checks: lint and types once, the tests on every Python that is here, two at a time.

All tests run on the newest and the oldest, on those between what runs in the measured program.

Where a few tests fail they run once more, alone: a machine that does too much at once makes some of
them wait longer than they do. Who fails twice fails, and who failed once is named.

And once, on the newest, other people's test suites with and without tach, the packages, and what is
about the parts in C with those in Python.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, NamedTuple

import pythons
from carbon import install_carbon
from environment import ROOT, Environment, SetupError
from servers import install_browser, install_gdb, install_rabbitmq, install_statsd

if TYPE_CHECKING:
    from pythons import Python

    Command = tuple[str, ...]

STATIC = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))
PYTEST = ("python", "-m", "pytest", "--numprocesses=2")
AGAIN = ("--numprocesses=0", "--last-failed", "--last-failed-no-failures=none")
TESTS_FAILED = 1  # what pytest ends with then
A_FEW = 5
CONFORMANCE = ("env", "PYTHONPATH=tools", "python", "conformance/run.py", "--subset", "ci")
DIST = ("python", "tools/dist.py")
AT_A_TIME = 2
LONGEST = 3600.0
# The lowest versions that tach supports and that have wheels, and the Pythons they have them for.
OLDEST = ROOT / "tests" / "oldest.txt"
OLDEST_PYTHONS = ("3.10", "3.11")
# What differs between the parts in C and those in Python is behind these tests; the others that
# differ run with both in any case.
OF_PROBES = ("probe", "green", "inflight", "invisible", "main_module", "outermost", "patching")
OF_BUCKETS = ("totals", "segment", "histogram", "percentiles", "sample_kinds", "runtime", "sender")
PURE = ("env", "TACH_PURE=1")
# What does not run in the measured program: its tests run on the newest Python, and on the oldest
# with the oldest versions of all else; what works on both works between them.
OUTSIDE = (
    *("amqp", "amqp_external", "benchmarks", "billing", "bounded_log", "bus", "checks"),
    *("completion", "config", "conformance", "console", "debug_notifier", "developers", "docs"),
    *("dogstatsd", "forward", "graphite", "graphite_end_to_end", "histogram", "house", "includes"),
    *("notifiers_page", "otlp", "percentiles", "prometheus", "prometheus_gunicorn", "queues"),
    *("reference_pages", "schema", "statsd_notifier", "statsd_outage", "status", "top", "typos"),
    *("usage", "wrong_input"),
)
INSTALL = (install_statsd, install_rabbitmq, install_carbon, install_browser, install_gdb)


class Job(NamedTuple):
    """Commands to be run one after the other in an environment with tach and these extras."""

    title: str
    environment: Environment
    extras: set[str]
    commands: tuple[Command, ...]


class Result(NamedTuple):
    """How a job ended; `closing` is the last line that each of its commands printed."""

    title: str
    passed: bool
    output: str
    closing: str


def main() -> int:
    """Run what the command line asks for; 0 if all of it passed."""
    parser = argparse.ArgumentParser(prog="check.py", description=__doc__)
    parser.add_argument("--only", default="", help="a Python version such as 3.12, or 'oldest'")
    parser.add_argument("--args", default="", help="more arguments for pytest")
    options = parser.parse_args()
    jobs = plan(pythons.find(), options.only, shlex.split(options.args))
    if not jobs:
        wanted = options.only or ", ".join(pythons.SUPPORTED)
        sys.exit(f"tach: no Python to test on; looked for {wanted}")
    for install in INSTALL:
        if missing := install():
            print(f"not all tests can run: {missing}", flush=True)
    results = run_all(jobs)
    print(*(f"{result.title}: {result.closing}" for result in results), sep="\n")
    return 0 if all(result.passed for result in results) else 1


def plan(found: list[Python], only: str, arguments: list[str]) -> list[Job]:
    """The jobs for the interpreters `found`: all, or the tests of the environment `only`."""
    jobs = [tests(Environment(python.minor, python), arguments) for python in reversed(found)]
    jobs[:1] = [job._replace(extras=job.extras | {"examples"}) for job in jobs[:1]]
    has_oldest = bool(found) and found[0].minor in OLDEST_PYTHONS
    if has_oldest:
        jobs.append(tests(Environment("oldest", found[0], OLDEST), arguments))
    if only:
        return [job for job in jobs if job.environment.directory.name == only]
    if has_oldest:
        jobs[1:-1] = [_inside(job) for job in jobs[1:-1]]
    newest = jobs[:1]
    static = [Job("lint and types", job.environment, {"test", "dev"}, STATIC) for job in newest]
    others = [Job("conformance", job.environment, job.extras, (CONFORMANCE,)) for job in newest]
    packages = [Job("packages", job.environment, job.extras, (DIST,)) for job in newest]
    pure = [_without_c(job, arguments) for job in newest]
    return [*static, *newest, *others, *packages, *pure, *jobs[1:]]


def _without_c(job: Job, arguments: list[str]) -> Job:
    files = [f"tests/test_{name}.py" for name in (*OF_PROBES, *OF_BUCKETS)]
    command = (*PURE, *pytest(job.environment, "pytest-pure", [*arguments, *files]))
    return job._replace(title=f"{job.title}, nothing in C", commands=(command,))


def _inside(job: Job) -> Job:
    """Without the tests of what does not run in the measured program."""
    left_out = [f"--ignore=tests/test_{name}.py" for name in OUTSIDE]
    [command] = job.commands
    return job._replace(commands=((*command, *left_out),))


def tests(environment: Environment, arguments: list[str]) -> Job:
    """The job of running the tests in `environment`."""
    name = environment.directory.name
    title = f"Python {environment.python.full}" + (f" ({name})" if name == "oldest" else "")
    return Job(title, environment, {"test", "bus"}, (pytest(environment, "pytest", arguments),))


def pytest(environment: Environment, cache: str, arguments: list[str]) -> Command:
    """What runs tests there and keeps in its directory `cache` which of them have failed."""
    return (*PYTEST, f"--override-ini=cache_dir={environment.directory / cache}", *arguments)


def run_all(jobs: list[Job]) -> list[Result]:
    """The results in the order of `jobs`; the output of each is printed when it has ended."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        futures = [pool.submit(run, job) for job in jobs]
        for future in as_completed(futures):
            result = future.result()
            print(f"\n== {result.title}\n{result.output}", flush=True)
        return [future.result() for future in futures]


def run(job: Job) -> Result:
    """Set up the environment of `job` and run its commands, all of them."""
    try:
        job.environment.prepare(job.extras)
    except SetupError as error:
        return Result(job.title, False, str(error), "not run, its set-up failed (see above)")
    done = [attempts(command, job.environment) for command in job.commands]
    outputs = [each.stdout for tries in done for each in tries]
    return Result(
        job.title,
        all(tries[-1].returncode == 0 for tries in done),
        "\n".join(outputs),
        "; ".join(map(closing, outputs)),
    )


def attempts(command: Command, environment: Environment) -> list[subprocess.CompletedProcess[str]]:
    """The ended `command`; after it, if a few tests failed, the same for these, one at a time."""
    first = perform(command, environment)
    if first.returncode != TESTS_FAILED or "pytest" not in command:
        return [first]
    failed = re.findall(r"(\d+) (?:failed|error)", closing(first.stdout))
    if not 0 < sum(map(int, failed)) <= A_FEW:
        return [first]
    again = perform((*command, *AGAIN), environment)
    again.stdout = f"\n= once more, alone: what failed\n{again.stdout}"
    return [first, again]


def perform(command: Command, environment: Environment) -> subprocess.CompletedProcess[str]:
    """The ended `command`, its output in `stdout`."""
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=environment.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LONGEST,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode(errors="replace")
        return subprocess.CompletedProcess(command, 1, f"{output}\nnot ended in {LONGEST:.0f} s")


def closing(output: str) -> str:
    """The last line of `output` that says something."""
    return next((line for line in reversed(output.splitlines()) if line.strip()), "no output")


if __name__ == "__main__":
    sys.exit(main())
