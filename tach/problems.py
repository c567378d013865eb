"""What is wrong with a configuration: collected, so that all of it is said at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

MOST_ERRORS = 200
LONGEST_SHOWN = 60
LONGEST_WHERE = 240
MOST_KNOWN_SHOWN = 12


class ConfigErrors(Exception):
    """A configuration cannot be used. `errors` holds each reason, one line each, in file order."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class Problems:
    """The problems found in one file so far."""

    def __init__(self, file: str) -> None:
        self._file = escaped(file)
        self._found: dict[tuple[int, str], None] = {}

    def add(self, line: int, where: str, what: str, advice: str = "") -> None:
        """Note one problem; line 0 is the file as a whole. Raises ConfigErrors after too many."""
        place = f"{self._file}:{line}" if line else self._file
        parts = [place, escaped(where)[:LONGEST_WHERE], what] if where else [place, what]
        self._found[line, ": ".join(parts) + (f"; {advice}" if advice else "")] = None
        if len(self._found) >= MOST_ERRORS:
            more = f"{self._file}: only the first {MOST_ERRORS} errors are shown; there may be more"
            raise ConfigErrors([*self._in_order(), more])

    def fail(self, line: int, where: str, what: str, advice: str = "") -> NoReturn:
        """Note one problem after which nothing more can be found, and raise ConfigErrors."""
        self.add(line, where, what, advice)
        raise ConfigErrors(self._in_order())

    def raise_if_any(self, *others: Problems) -> None:
        """Raise ConfigErrors if there is a problem, in this file or in one of the others."""
        found = [text for each in (self, *others) for text in each._in_order()]
        if found:
            raise ConfigErrors(found)

    def _in_order(self) -> list[str]:
        # Sorting is stable: within a line the order of finding stays.
        return [text for _, text in sorted(self._found, key=lambda each: each[0])]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    # Imported here because a configuration without errors does not need it.
    from difflib import get_close_matches

    by_lower = {each.lower(): each for each in known}
    found = get_close_matches(word[:LONGEST_SHOWN].lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """Advice for an unknown word: the nearest known one, else what there is."""
    known = list(known)
    found = nearest(word, known)
    if found is not None:
        return f"did you mean {quoted(found)}?"
    shown = ", ".join(escaped(each) for each in known[:MOST_KNOWN_SHOWN])
    return f"known: {shown}" + (", ..." if len(known) > MOST_KNOWN_SHOWN else "")


def quoted(text: str) -> str:
    """`text` in quotes, on one line, shortened if it is long."""
    return repr(_shortened(text))


def escaped(text: str) -> str:
    """`text` without quotes, as it is where it can be printed on one line."""
    return text if text.isprintable() else repr(text)[1:-1]


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."
