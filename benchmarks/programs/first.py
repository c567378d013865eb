"""Prints when its first line runs, and how many modules there are; then makes one call."""

import sys, time  # noqa: E401, I001 - both are loaded already when the first line runs

print(time.monotonic_ns(), len(sys.modules))

import subjects  # noqa: E402

subjects.one()
