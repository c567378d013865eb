"""Environment variables in the values of a configuration: `${NAME}` and `${NAME:-default}`."""

from __future__ import annotations

import os
import re

REFERENCE = r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?"


def expand(text: str) -> tuple[str, list[str]]:
    """`text` with its variables replaced, and what is wrong with them.

    As in a shell, the default is for a variable that is unset or empty. `$${` stands for `${`.
    """
    if "${" not in text:
        return text, []
    wrong: list[str] = []

    def replacement(reference: re.Match[str]) -> str:
        name, default = reference.groups()
        if name is None:
            if reference[0] != "$${":
                wrong.append("'${' without a name and a '}'; write ${NAME}, or $${ for the text ${")
            return "${"
        if default is None and name not in os.environ:
            wrong.append(
                f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
            )
        return os.environ.get(name) or default or ""

    return re.sub(REFERENCE, replacement, text), wrong
