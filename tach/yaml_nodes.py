"""A YAML file as nodes that know their line; bombs are refused before they cost anything."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import yaml
from yaml.reader import Reader

from tach.problems import Problems, nearest, quoted

MAX_BYTES = 1024 * 1024
MAX_VALUES = 100_000
MAX_DEPTH = 32
EXAMPLE = "see tach.yaml.example for what a configuration looks like"
SYNTAX = "YAML syntax"

# Either of them reads the same language; the first is libyaml, where PyYAML was built with it.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: str, problems: Problems) -> yaml.MappingNode:
    """The mapping that the YAML file holds. ConfigErrors if it cannot be read or holds none.

    At most MAX_BYTES of text; with its aliases written out, at most MAX_VALUES values, nested at
    most MAX_DEPTH deep (so that the nodes may be walked recursively).
    """
    text = _decode(_read_bytes(path, problems), problems)
    try:
        _check_extent(text, problems)
        root = yaml.compose(text, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        _fail_at_mark(error, text, problems)
    except yaml.YAMLError as error:
        problems.fail(0, "", f"is not YAML: {' '.join(str(error).split())}")
    if root is None or is_null(root):
        problems.fail(0, "", "is empty", EXAMPLE)
    if not isinstance(root, yaml.MappingNode):
        problems.fail(line_of(root), "", f"expected a mapping, got {describe(root)}", EXAMPLE)
    return root


def line_of(node: yaml.Node) -> int:
    """The line on which the node begins, from 1."""
    return node.start_mark.line + 1


def is_plain(node: yaml.Node) -> bool:
    """Whether the node is a scalar without quotes."""
    return isinstance(node, yaml.ScalarNode) and not node.style


def is_null(node: yaml.Node) -> bool:
    """Whether the node says that there is nothing: `null`, `~` or no text at all."""
    return is_plain(node) and node.tag == "tag:yaml.org,2002:null"


def describe(node: yaml.Node) -> str:
    """What the node is, for the end of "expected ..., got ..."."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if is_null(node) else quoted(node.value)


def _read_bytes(path: str, problems: Problems) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        problems.fail(0, "", "no such file", _other_file(path))
    except IsADirectoryError:
        problems.fail(0, "", "is a directory", "name the YAML file in it")
    except OSError as error:
        problems.fail(0, "", f"cannot be read: {error.strerror}", "check its path and permissions")
    except ValueError as error:
        problems.fail(0, "", f"cannot be read: {error}", "check its path")
    if len(content) > MAX_BYTES:
        problems.fail(0, "", "is larger than 1 MiB", "is it a configuration of tach?")
    return content


def _other_file(path: str) -> str:
    directory, name = os.path.split(path)
    try:
        found = nearest(name, os.listdir(directory or "."))
    except OSError:
        return f"there is no directory {quoted(directory)} to read either"
    return f"did you mean {quoted(os.path.join(directory, found))}?" if found else EXAMPLE


def _decode(content: bytes, problems: Problems) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{content[error.start]:02x} is not UTF-8"
        problems.fail(line, "", what, "save the file as UTF-8 text")
    odd = Reader.NON_PRINTABLE.search(text)
    if odd is not None:
        line = text.count("\n", 0, odd.start()) + 1
        problems.fail(line, "", f"the character {odd[0]!a} cannot stand in YAML", "remove it")
    return text


class _Opened:
    """A collection whose end has not been read yet."""

    __slots__ = ("anchor", "inner_depth", "values_before")

    def __init__(self, anchor: str | None, values_before: int) -> None:
        self.anchor = anchor
        self.values_before = values_before
        self.inner_depth = 0

    def hold(self, depth: int) -> None:
        """Take in something that is `depth` collections deep."""
        self.inner_depth = max(self.inner_depth, depth)


def _check_extent(text: str, problems: Problems) -> None:
    """Refuse what would be too large, too deep or endless with its aliases written out.

    Without recursion and without writing anything out, as this is done to what may be a bomb.
    """
    values = 0
    opened = [_Opened(None, 0)]
    extents: dict[str | None, tuple[int, int]] = {}  # of what has an anchor: values, depth
    for event in yaml.parse(text, Loader=LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 0
        depth = 0
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append(_Opened(event.anchor, values))
            values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            done = opened.pop()
            depth = done.inner_depth + 1
            extents[done.anchor] = values - done.values_before, depth
        elif isinstance(event, yaml.AliasEvent):
            if any(each.anchor == event.anchor for each in opened):
                what = f"the alias *{event.anchor} stands inside what it names"
                problems.fail(line, SYNTAX, what, "write out what is meant")
            held, depth = extents.get(event.anchor, (1, 0))
            values += held
        else:
            values += 1
        opened[-1].hold(depth)
        _check_limits(values, len(opened) - 1 + depth, line, problems)


def _check_limits(values: int, depth: int, line: int, problems: Problems) -> None:
    if values > MAX_VALUES:
        what = f"more than {MAX_VALUES} values, with the aliases written out"
        problems.fail(line, SYNTAX, what, "use fewer aliases")
    if depth > MAX_DEPTH:
        _fail_as_too_deep(line, problems)


def _fail_as_too_deep(line: int, problems: Problems) -> NoReturn:
    what = f"nested more than {MAX_DEPTH} levels deep, with the aliases written out"
    problems.fail(line, SYNTAX, what, "a configuration needs five")


def _fail_at_mark(error: yaml.MarkedYAMLError, text: str, problems: Problems) -> NoReturn:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    if "nesting depth" in str(error.problem):  # a libyaml that knows one, which reads ahead
        _fail_as_too_deep(line, problems)
    column = f" in column {mark.column + 1}" if mark else ""
    reasons = [error.context, (error.problem or "cannot be read") + column]
    what = " ".join(", ".join(each for each in reasons if each).split())
    lines = text.splitlines()
    here = lines[line - 1] if 0 < line <= len(lines) else ""
    indentation = here[: len(here) - len(here.lstrip())]
    advice = "indent with spaces, not with tabs" if "\t" in indentation else ""
    problems.fail(line, SYNTAX, what, advice or "put quotes around text with : # { [ * & in it")
