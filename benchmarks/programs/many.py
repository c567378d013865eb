"""Ten thousand functions, `f0` to `f9999`."""

from __future__ import annotations

SOURCE = "def f{number}():\n    pass\n"

exec("".join(SOURCE.format(number=number) for number in range(10_000)))
