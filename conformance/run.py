"""Runs other people's test suites with and without tach.

`make conformance` calls it. Exit status 1 if a test ended otherwise under tach and known.yaml does
not say why.
"""

from __future__ import annotations

import argparse
import sys

import outcomes
import pythons
import suites
import table
from environment import SetupError
from workshop import Workshop


def main() -> int:
    """Run the suites that the command line asks for, one after the other."""
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="default: all")
    parser.add_argument("--subset", choices=["ci"], help="those that CI runs")
    parser.add_argument("--write", action="store_true", help="put the table into the docs")
    parser.add_argument("--python", default="", help="such as 3.12; default: the newest")
    parser.add_argument("--pure", action="store_true", help="with the probes written in Python")
    options = parser.parse_args()
    if options.write and (options.suites or options.subset):
        parser.error("--write needs all suites")
    try:
        chosen = suites.choose(suites.load(), options.suites, options.subset)
    except ValueError as error:
        parser.error(str(error))
    python = _python(options.python)
    try:
        results = [_run(Workshop(suite, python, options.pure)) for suite in chosen]
    except SetupError as error:
        sys.exit(f"tach: {error}")
    print(f"\n{table.text(results)}\n\n{table.summary(results)}")
    if options.write:
        table.write(results, python.full)
    return int(any(result.failed for result in results))


def _python(minor: str) -> pythons.Python:
    found = [each for each in pythons.find() if minor in ("", each.minor)]
    if not found:
        sys.exit(f"tach: no Python {minor or ', '.join(pythons.SUPPORTED)} here; install one")
    return found[-1]


def _run(shop: Workshop) -> table.Result:
    shop.prepare()
    without = [shop.without_tach("first"), shop.without_tach("second")]
    under = [shop.under_tach("tach")]
    probes = shop.implementation()
    known = suites.load_known(probes).get(shop.suite.name, {})
    comparison = outcomes.compare(without, under, known)
    if comparison.unknown:  # does that happen each time?
        under.append(shop.under_tach("again"))
        comparison = outcomes.compare(without, under, known)
    result = table.Result(shop.suite, probes, comparison, shop.calls())
    print(f"{table.line(result)}\n{table.details(result, shop.log)}", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
