"""The functions that the configurations here name, for the tally: a line each."""

from __future__ import annotations

from pathlib import Path

import yaml

HERE = Path(__file__).parent


def targets(file: Path) -> dict[str, str]:
    """Target -> function, of the file and of those beside it that it includes; no wildcards."""
    config = yaml.safe_load(file.read_text())
    found: dict[str, str] = {}
    for each in config.get("include", []):
        if each.startswith("./"):
            found.update(targets(file.parent / each))
    for name, target in config["targets"].items():
        function = target if isinstance(target, str) else target["function"]
        if "*" not in function:
            found[name] = function
    return found


if __name__ == "__main__":
    files = sorted(HERE.glob("nova-*.yaml"))
    print(*sorted({function for file in files for function in targets(file).values()}))
