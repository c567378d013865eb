"""Writes docs/configuration.md out of the JSON Schema, so that the two cannot disagree."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "tach" / "tach.schema.json"
PAGE = ROOT / "docs" / "configuration.md"
HEAD = """\
# Configuration

Every key of the file, as [tach.schema.json](../tach/tach.schema.json) has it, from which this page
is made (`python tools/reference.py --write`). [tach.yaml.example](../tach.yaml.example) shows them
all in use. `tach --schema` prints the schema: an editor that knows YAML schemas takes it from a
first line `# yaml-language-server: $schema=tach.schema.json`.

Durations are `500ms`, `10s`, `5m`, `1h`, `1d`, or a number of seconds; sizes `64KiB`, `1MB`. Any
value may be `${NAME}` or `${NAME:-default}`, taken from the environment; `$${` stands for `${`.
"""


def page(schema: dict[str, Any]) -> str:
    """The whole page."""
    definitions = schema["definitions"]
    top = schema["properties"]
    target = definitions["target"]["anyOf"][1]["properties"]
    sections = [
        HEAD,
        _section("At the top", top, definitions),
        _section("`spool:`", top["spool"]["properties"], definitions),
        _section("`runtime:`", _object(top["runtime"]), definitions),
        _section("`defaults:`", top["defaults"]["properties"], definitions),
        _section("A target", target, definitions),
    ]
    types = [name for name, each in definitions.items() if "type" in each.get("properties", {})]
    for name in sorted(set(types) - {"notifier"}):
        options = {
            key: each for key, each in definitions[name]["properties"].items() if key != "type"
        }
        text = definitions[name].get("description", "")
        sections.append(_section(f"Notifier `{name}`", options, definitions, text))
    return "\n".join(sections)


def _object(found: dict[str, Any]) -> dict[str, Any]:
    return next(each["properties"] for each in found["anyOf"] if "properties" in each)


def _resolved(each: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a key with what it refers to."""
    refers = [each, *each.get("allOf", ())]
    names = [one["$ref"].rpartition("/")[2] for one in refers if "$ref" in one]
    found: dict[str, Any] = {}
    for name in names:
        found.update(definitions[name])
    return {**found, **each}


def _section(title: str, keys: dict[str, Any], definitions: dict[str, Any], text: str = "") -> str:
    lines = [f"## {title}", ""]
    if text:
        lines += [text, ""]
    rows = [_row(key, _resolved(each, definitions)) for key, each in keys.items()]
    lines += ["| key | default | what it says |", "|---|---|---|"]
    return "\n".join([*lines, *rows, ""])


def _row(key: str, each: dict[str, Any]) -> str:
    default = f"`{_yaml(each['default'])}`" if each.get("default") not in (None, "") else ""
    says = [each.get("description", "")]
    choices = next((one["enum"] for one in each.get("anyOf", ()) if "enum" in one), None)
    if choices:
        named = dict.fromkeys(f"`{choice}`" for choice in choices)  # the text 1.0 and the number
        says.append(f"One of {', '.join(named)}.")
    if each.get("examples"):
        says.append(f"Such as {', '.join(f'`{_yaml(one)}`' for one in each['examples'])}.")
    text = " ".join(part for part in says if part).replace("|", "\\|")
    return f"| `{key}` | {default} | {text} |"


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value).replace('"', "")


def main() -> None:
    """Print the page, or with --write put it in its place."""
    text = page(json.loads(SCHEMA.read_text()))
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
