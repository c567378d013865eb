"""What a target says of its calls beside their function: names made of them, values, helpers."""

from __future__ import annotations

import ast
import math
import os
import re
from typing import Any

import yaml

from tach.config_events import compile_path, path_advice, read_path
from tach.functions import advice_for, is_function
from tach.names import sanitise
from tach.plan import Path
from tach.problems import nearest, quoted, suggestion
from tach.yaml_nodes import line_of
from tach.yaml_values import Entry, Values

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
PLACEHOLDER_ROOTS = ("args", "kwargs", "self", "result", "exception")
VALUE_KEYS = ("of", "as")
VALUE_KINDS = ("histogram", "gauge", "counter")
DEFAULT_MAX_SERIES = 1000
LARGEST_MAX_SERIES = 100_000
LENGTH = re.compile(r"len\((.*)\)")
STAMP_EXAMPLE = "args.headers[sent_at]"


class Calls:
    """Reads these keys; files are looked for beside the configuration, in `directory`."""

    def __init__(self, values: Values, directory: str) -> None:
        self._values = values
        self._directory = directory

    def template(self, name: str, where: str, line: int) -> tuple[Any, ...]:
        """The name as texts and paths in turn; () if it has no placeholders, or after a problem."""
        if not re.search(r"[{}]", name):
            return ()
        parts: list[Any] = []
        at = 0
        for match in PLACEHOLDER.finditer(name):
            path = self._placeholder(match[1], where, line)
            if path is None:
                return ()
            parts += [name[at : match.start()], path]
            at = match.end()
        parts.append(name[at:])
        if any("{" in part or "}" in part for part in parts if isinstance(part, str)):
            advice = "write placeholders as {args.method}"
            self._values.report(line, where, f"unbalanced braces in {quoted(name)}", advice)
            return ()
        return tuple(_sanitised(part) if isinstance(part, str) else part for part in parts if part)

    def _placeholder(self, text: str, where: str, line: int) -> Path | None:
        if text == "exception":
            return ("exception",)
        path = compile_path(text)
        if path is None:
            self._values.report(
                line, where, f"malformed placeholder {{{text}}}", _placeholder_advice(text)
            )
        return path

    def exclude(self, entry: Entry | None, where: str) -> tuple[str, ...]:
        """Patterns of names that a wildcard leaves out."""
        found = self._values.names(entry.node, where, "function pattern") if entry else {}
        return tuple(found or ())

    def max_series(self, entry: Entry | None, where: str) -> int:
        """How many names the calls of a target may go by."""
        if entry is None:
            return DEFAULT_MAX_SERIES
        expected = f"a whole number from 1 to {LARGEST_MAX_SERIES}"
        text = self._values.text(entry.node, where, expected)
        if text is not None and text.isdecimal() and 1 <= int(text) <= LARGEST_MAX_SERIES:
            return int(text)
        if text is not None:
            self._values.mismatch(entry.node, where, expected, text)
        return DEFAULT_MAX_SERIES

    def increment(self, entry: Entry | None, where: str) -> float | None:
        """What each call adds."""
        if entry is None:
            return None
        text = self._values.text(entry.node, where, "a number")
        number = _number(text)
        if text is not None and number is None:
            self._values.mismatch(entry.node, where, "a number", text)
        return number

    def value(self, entry: Entry | None, where: str) -> tuple[Path, bool, str]:
        """The path of a value, whether its length is meant, and as what it is reported."""
        if entry is None:
            return (), False, ""
        kind = VALUE_KINDS[0]
        if isinstance(entry.node, yaml.MappingNode):
            fields = self._values.fields(entry.node, where, VALUE_KEYS, "of") or {}
            if "as" in fields:
                kind = self._value_kind(fields["as"], f"{where}.as")
            if "of" not in fields:
                advice = "add of: len(result)"
                self._values.report(entry.line, where, "the key 'of' is missing", advice)
                return (), False, kind
            entry, where = fields["of"], f"{where}.of"
        text = self._values.text(entry.node, where, "a path such as result.size") or ""
        length = LENGTH.fullmatch(text)
        path = compile_path(length[1] if length else text)
        if path is None:
            if "(" not in text:
                return read_path(entry, where, self._values), False, kind
            advice = _value_advice(text)
            self._values.report(
                line_of(entry.node), where, f"malformed value {quoted(text)}", advice
            )
        return path or (), length is not None, kind

    def queued(self, entry: Entry | None, where: str) -> tuple[Path, ...]:
        """The paths of stopwatches or time stamps, the first that leads anywhere being meant."""
        if entry is None:
            return ()
        if not isinstance(entry.node, yaml.SequenceNode):
            return self._before_the_call([read_path(entry, where, self._values)], entry.line, where)
        items = self._values.items(entry.node, where, "a path") or []
        if not entry.node.value:
            self._values.report(entry.line, where, "an empty list of paths", "leave the key out")
        paths = [read_path(Entry(line_of(each), each), where, self._values) for each in items]
        return self._before_the_call(paths, entry.line, where)

    def stamp(self, entry: Entry | None, where: str) -> Path:
        """The path of a place in a mapping, for a time stamp."""
        if entry is None:
            return ()
        path = read_path(entry, where, self._values)
        if path and len(path) < 3:
            what = "a stamp needs a mapping of the call, and the key in it"
            self._values.report(line_of(entry.node), where, what, f"write it as {STAMP_EXAMPLE}")
        self._before_the_call([path], entry.line, where)
        return path

    def _before_the_call(self, paths: list[Path], line: int, where: str) -> tuple[Path, ...]:
        for path in paths:
            if path[:1] == ("result",):
                what = "there is no result yet when the call begins"
                self._values.report(line, where, what, "take it from args, kwargs or self")
        return tuple(path for path in paths if path)

    def _value_kind(self, entry: Entry, where: str) -> str:
        found = self._values.text(entry.node, where, "histogram, gauge or counter")
        if found is not None and found not in VALUE_KINDS:
            advice = suggestion(found, VALUE_KINDS)
            self._values.report(line_of(entry.node), where, f"unknown kind {quoted(found)}", advice)
        return found or VALUE_KINDS[0]

    def helper(self, entry: Entry | None, where: str) -> str:
        """A function of the operator's: module:function, or /absolute/file.py:function."""
        if entry is None:
            return ""
        shape = "./file.py:function or module:function"
        text = self._values.text(entry.node, where, shape) or ""
        line = line_of(entry.node)
        place, _, name = text.rpartition(":")
        if place.endswith(".py") or "/" in place:
            file = os.path.abspath(os.path.join(self._directory, os.path.expanduser(place)))
            self._check_helper(file, name, where, line)
            return f"{file}:{name}"
        if text and not is_function(text):
            advice = advice_for(text)
            if text.endswith(".py"):
                advice = f"say which function of it, as in {shape}"
            self._values.report(line, where, f"malformed helper {quoted(text)}", advice)
        return text

    def _check_helper(self, file: str, name: str, where: str, line: int) -> None:
        try:
            with open(file, "rb") as source:
                tree = ast.parse(source.read(), file)
        except OSError as error:
            what = f"cannot read {file}: {error.strerror}"
            self._values.report(line, where, what, _file_advice(file))
        except (SyntaxError, ValueError) as error:
            self._values.report(line, where, f"{file} is no Python: {error}")
        else:
            names = [each for each in _defined(tree) if not each.startswith("_")]
            if name not in _defined(tree) and not any(map(_is_star, tree.body)):
                what = f"no {quoted(name)} in {file}"
                self._values.report(line, where, what, suggestion(name, names))


def _file_advice(file: str) -> str:
    directory, name = os.path.split(file)
    files = os.listdir(directory) if os.path.isdir(directory) else []
    near = nearest(name, [each for each in files if each.endswith(".py")])
    return f"did you mean {near!r}?" if near else "the path is relative to this configuration"


def _placeholder_advice(text: str) -> str:
    if nearest(text, PLACEHOLDER_ROOTS) == "exception":
        return "did you mean '{exception}'?"
    forms = "write it as {args.method}, {self.host}, {result.status} or {exception}"
    return path_advice(text, forms, "{{{}}}")


def _value_advice(text: str) -> str:
    """What to write instead of a malformed text with brackets in it."""
    path = text.partition("(")[2].removesuffix(")")
    if compile_path(path):
        return f"did you mean {quoted(f'len({path})')}?"
    return path_advice(path, "write it as len(args.items)", "len({})")


def _defined(tree: ast.Module) -> list[str]:
    """The names that a module's statements define."""
    found: list[str] = []
    for each in ast.walk(tree):
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append(each.name)
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            found.append(each.id)
        elif isinstance(each, (ast.Import, ast.ImportFrom)):
            found += [alias.asname or alias.name for alias in each.names]
    return found


def _is_star(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*"


def _sanitised(text: str) -> str:
    """The text between placeholders, whose dots may stand at its ends."""
    return ".".join([sanitise(each) if each else "" for each in text.split(".")])


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number == int(number) else number
