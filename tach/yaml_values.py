"""Typed values out of YAML nodes. What does not fit is noted as a problem, and None comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import yaml

from tach.durations import DURATION, seconds
from tach.environment import expand
from tach.problems import Problems, nearest, quoted, suggestion
from tach.yaml_nodes import describe, is_null, is_plain, line_of

TAG = "tag:yaml.org,2002:"
MERGE = TAG + "merge"
TAGS = {
    "map": yaml.MappingNode,
    "seq": yaml.SequenceNode,
    **dict.fromkeys(
        ("str", "null", "bool", "int", "float", "timestamp", "merge", "value"), yaml.ScalarNode
    ),
}
BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
BOOLEAN = "true or false"


class Entry(NamedTuple):
    """The value of a key, and the line on which the key stands."""

    line: int
    node: yaml.Node


class Scalar(NamedTuple):
    """The text of a value, variables expanded; `bare` if it may mean a number or a boolean."""

    text: str
    bare: bool

    @property
    def boolean(self) -> bool | None:
        """The boolean that it means."""
        return BOOLEANS.get(self.text.lower()) if self.bare else None


class Values:
    """Reads the values of one configuration.

    `where` is the place of a value as the user knows it, such as `targets.compute.build`; the empty
    string is the top of the file. `expected` says what the value should be, for the error.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self.reported = 0

    def report(self, line: int, where: str, what: str, advice: str = "") -> None:
        """Note a problem that only the caller can see."""
        self.reported += 1
        self._problems.add(line, where or "top level", what, advice)

    def mismatch(self, node: yaml.Node, where: str, expected: str, got: str | None = None) -> None:
        """Note that a value is not what it should be; `got` is its text, if that was expanded."""
        shown = describe(node) if got is None else quoted(got)
        self.report(line_of(node), where, f"expected {expected}, got {shown}")

    def fields(
        self, node: yaml.Node, where: str, known: Sequence[str], needed: str = ""
    ) -> dict[str, Entry] | None:
        """The entries of a mapping that may have the `known` keys only."""
        entries = self.mapping(node, where)
        return None if entries is None else self.only(entries, where, known, needed)

    def only(
        self, entries: dict[str, Entry], where: str, known: Sequence[str], needed: str = ""
    ) -> dict[str, Entry]:
        """The entries with a known key; the others are problems.

        One whose key is the `needed` one misspelt is taken for it, lest that be called missing too.
        """
        found = {key: entry for key, entry in entries.items() if key in known}
        for key, entry in entries.items():
            if key not in known:
                what = f"unknown key {quoted(key)}"
                self.report(entry.line, where, what, suggestion(key, known))
                if needed and nearest(key, known) == needed:
                    found.setdefault(needed, entry)
        return found

    def mapping(
        self, node: yaml.Node, where: str, expected: str = "a mapping"
    ) -> dict[str, Entry] | None:
        """The entries of a mapping, merge keys resolved; none of a null."""
        if is_null(node):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.mismatch(node, where, expected)
            return None
        if not self._has_known_tag(node, where):
            return None
        own: dict[str, Entry] = {}
        merges: dict[str, Entry] = {}
        for key, value in node.value:
            self._add_entry(merges if key.tag == MERGE else own, key, value, where)
        merged: dict[str, Entry] = {}
        for merge in merges.values():
            merged = self._merged(merge.node, where)
        return {**own, **{key: entry for key, entry in merged.items() if key not in own}}

    def items(self, node: yaml.Node, where: str, expected: str) -> list[yaml.Node] | None:
        """The items of a list."""
        if not isinstance(node, yaml.SequenceNode):
            self.mismatch(node, where, expected)
            return None
        found: list[yaml.Node] = node.value
        return found if self._has_known_tag(node, where) else None

    def names(self, node: yaml.Node, where: str, expected: str) -> dict[str, int] | None:
        """The texts of a list, or of one text alone, each with the line of its first mention."""
        alone = isinstance(node, yaml.ScalarNode) and not is_null(node)
        items = [node] if alone else self.items(node, where, f"a list of {expected}s")
        if items is None:
            return None
        found: dict[str, int] = {}
        article = "an" if expected[0] in "aeiou" else "a"
        for item in items:
            text = self.text(item, where, f"{article} {expected}")
            if text is not None:
                found.setdefault(text, line_of(item))
        return found

    def text(self, node: yaml.Node, where: str, expected: str) -> str | None:
        """The text of any scalar but null, even of one like `on` and `1`."""
        found = self.scalar(node, where, expected)
        return None if found is None else found.text

    def boolean(self, node: yaml.Node, where: str) -> bool | None:
        """A boolean."""
        found = self.scalar(node, where, BOOLEAN)
        if found is not None and found.boolean is None:
            self.mismatch(node, where, BOOLEAN, found.text)
        return None if found is None else found.boolean

    def duration(self, node: yaml.Node, where: str) -> float | None:
        """A duration in seconds; it may be negative."""
        found = self.scalar(node, where, DURATION)
        if found is None:
            return None
        try:
            return seconds(found.text)
        except ValueError as error:
            self.report(line_of(node), where, f"{error}, got {quoted(found.text)}")
            return None

    def scalar(self, node: yaml.Node, where: str, expected: str) -> Scalar | None:
        """Any scalar but null, its environment variables expanded."""
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            self.mismatch(node, where, expected)
            return None
        if not self._has_known_tag(node, where):
            return None
        text, wrong = expand(node.value)
        for what in wrong:
            self.report(line_of(node), where, what)
        return None if wrong else Scalar(text, is_plain(node) or "${" in node.value)

    def _add_entry(
        self, entries: dict[str, Entry], key: yaml.Node, value: yaml.Node, where: str
    ) -> None:
        if not isinstance(key, yaml.ScalarNode):
            self.mismatch(key, where, "a name as key")
        elif key.value in entries:
            advice = f"the first one is on line {entries[key.value].line}, remove one of them"
            self.report(line_of(key), where, f"duplicate key {quoted(key.value)}", advice)
        else:
            entries[key.value] = Entry(line_of(key), value)

    def _merged(self, node: yaml.Node, where: str) -> dict[str, Entry]:
        """What a merge key stands for: of several mappings, the first that has a key wins."""
        several = isinstance(node, yaml.SequenceNode)
        found: dict[str, Entry] = {}
        for each in node.value if several else [node]:
            entries = self.mapping(each, where, "a mapping (or a list of them) after <<")
            found = {**(entries or {}), **found}
        return found

    def _has_known_tag(self, node: yaml.Node, where: str) -> bool:
        known = node.tag.startswith(TAG) and isinstance(
            node, TAGS.get(node.tag.removeprefix(TAG), ())
        )
        if not known:
            shown = quoted(node.tag.replace(TAG, "!!"))
            self.report(line_of(node), where, f"the tag {shown} has no meaning here", "remove it")
        return known
