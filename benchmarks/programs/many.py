"""A thousand functions, `f0` to `f999`."""

from __future__ import annotations

SOURCE = "def f{number}():\n    pass\n"

exec("".join(SOURCE.format(number=number) for number in range(1000)))
