"""What a configuration says about events: paths, `spool:`, `redact:`."""

from __future__ import annotations

import re
from typing import Any

from tach.agent.paths import ITEM, NAME
from tach.durations import DURATION, SIZE, seconds, size
from tach.plan import Path, SpoolPlan
from tach.problems import nearest, quoted, suggestion
from tach.yaml_nodes import is_null, line_of
from tach.yaml_values import Entry, Values

SPOOL_KEYS = ("directory", "max_size", "max_age", "fsync")
LEAST = {"max_size": (64 << 10, "64KiB"), "max_age": (1.0, "1s"), "fsync": (0.0, "0s")}
ALWAYS = "always"
ROOTS = ("args", "kwargs", "self", "result")
EXAMPLE = "args.instance.uuid"
# What is hidden always: parameters, attributes and keys with one of these words in their names.
HIDDEN = (
    "pass",
    "passwd",
    "password",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "private_key",
    "api_key",
    "auth",
    "authorization",
)

_STEP = re.compile(
    r"""\.(?P<name>[^\W\d]\w*)
      | \[(?P<index>-?\d+)\]
      | \[(?P<quote>['"]?)(?P<key>[^\]'"]+)(?P=quote)\]""",
    re.VERBOSE,
)


def compile_path(text: str) -> Path | None:
    """The path as `tach.agent.paths` takes it; None if it is malformed."""
    root = re.match(r"[a-z]+", text)
    if root is None or root[0] not in ROOTS:
        return None
    steps: list[tuple[int, str | int]] = []
    at = root.end()
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            return None
        if step["name"]:
            steps.append((NAME, step["name"]))
        else:
            steps.append((ITEM, int(step["index"]) if step["index"] else step["key"]))
        at = step.end()
    if root[0] == "args" and not steps:
        return None
    return (root[0], *steps)


def read_path(entry: Entry, where: str, values: Values) -> Path:
    """A path such as args.instance.uuid; () after a problem."""
    text = values.text(entry.node, where, f"a path such as {EXAMPLE}")
    if text is None:
        return ()
    path = compile_path(text)
    if path is None:
        root = re.split(r"[.\[]", text)[0]
        advice = f"write it as {EXAMPLE}" if root in ROOTS else suggestion(root, ROOTS)
        advice = path_advice(text, advice)
        values.report(line_of(entry.node), where, f"malformed path {quoted(text)}", advice)
    return path or ()


def path_advice(text: str, otherwise: str, form: str = "{}") -> str:
    """What to write instead of a malformed path that stands in a text of that form."""
    root = re.split(r"[.\[]", text)[0]
    near = nearest(root, ROOTS)
    meant = f"{near}{text[len(root) :]}"
    if near is None or compile_path(meant) is None:
        return otherwise
    return f"did you mean {quoted(form.format(meant))}?"


def read_hidden(entry: Entry | None, values: Values) -> tuple[str, ...]:
    """The words whose keys keep their values to themselves: the given ones and HIDDEN."""
    names = values.names(entry.node, "redact", "word") if entry and not is_null(entry.node) else {}
    return (*HIDDEN, *(names or {}))


def read_spool(entry: Entry | None, values: Values) -> SpoolPlan:
    """The section `spool:`."""
    found: dict[str, Any] = {}
    fields = values.fields(entry.node, "spool", SPOOL_KEYS) if entry else {}
    for key, each in (fields or {}).items():
        where = f"spool.{key}"
        if key == "directory":
            found[key] = _directory(each, where, values)
        elif key == "max_size":
            found[key] = _size(each, where, values)
        elif key == "max_age":
            found[key] = values.duration(each.node, where)
        else:
            found[key] = _fsync(each, where, values)
        if key in LEAST and found[key] is not None and found[key] < LEAST[key][0]:
            values.report(line_of(each.node), where, f"must be at least {LEAST[key][1]}")
    return SpoolPlan(**{key: each for key, each in found.items() if each is not None})


def _directory(entry: Entry, where: str, values: Values) -> str | None:
    found = values.text(entry.node, where, "a directory")
    if found == "":
        values.report(line_of(entry.node), where, "must not be empty", "leave the key out")
    return found


def _fsync(entry: Entry, where: str, values: Values) -> float | None:
    expected = f"{DURATION}, or {ALWAYS}"
    text = values.text(entry.node, where, expected)
    try:
        return None if text is None else 0.0 if text == ALWAYS else seconds(text)
    except ValueError:
        values.mismatch(entry.node, where, expected, text)
        return None


def _size(entry: Entry, where: str, values: Values) -> int | None:
    text = values.text(entry.node, where, SIZE)
    try:
        return None if text is None else size(text)
    except ValueError:
        values.mismatch(entry.node, where, SIZE, text)
        return None
