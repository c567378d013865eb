"""Functions of the operator's own that find a call's name: `helper:` and `after:`.

A helper is called with the call's arguments, `after` with the result, what was raised, and then the
arguments. Either returns a name, or nothing for the target's own; a helper may also return (args,
kwargs, name), as those of the tool's first version did, or a dict: the payload of the call's event.
"""

from __future__ import annotations

from tach.agent.loading import Loaded, in_words
from tach.agent.naming import UNKNOWN
from tach.names import LONGEST, sanitise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.naming import SeriesTable
    from tach.agent.recorder import Recorder

    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]


class HelperNaming:
    """Finds the recorder of a call by asking `helper` before it or `after` behind it.

    Both are `module:function`, or `/absolute/file.py:function`; "" for none. `own` is the name of
    calls for which they find none.
    """

    def __init__(
        self,
        helper: str,
        after: str,
        own: str,
        table: SeriesTable,
        limit: int,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._which = after or helper
        self._loaded = Loaded(self._which)
        self._at_end = bool(after)
        self._own = own
        self._unknown = f"{own}.{UNKNOWN}"
        self._table = table
        self._on_trouble = on_trouble
        self._known: dict[str, Recorder] = {}
        self._limit = limit

    def begin(self, args: Args, kwargs: Kwargs) -> tuple[Recorder | None, dict[Any, Any] | None]:
        """The recorder of a call that begins, and its payload; None for what is not known yet."""
        if self._at_end:
            return None, None
        try:
            found = self._loaded.get()(*args, **kwargs)
            if type(found) is dict:
                return self._recorder(None), found
            if type(found) is tuple and len(found) == 3:
                found = found[2]
            return self._recorder(found), None
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - it is not the program's
            return self._failed(error), None

    def end(self, args: Args, kwargs: Kwargs, result: Any, error: BaseException | None) -> Recorder:
        """The recorder of a call that has ended."""
        try:
            return self._recorder(self._loaded.get()(result, error, *args, **kwargs))
        except RecursionError:
            raise
        except Exception as trouble:  # noqa: BLE001 - as above
            return self._failed(trouble)

    def _recorder(self, name: Any) -> Recorder:
        if name is None:
            name = self._own
        if not issubclass(type(name), str):
            raise TypeError(f"it returned {type(name).__name__}, not a name")
        text = str.__str__(name)  # exactly a str, which nobody's code hashes or compares
        known = self._known.get(text)
        if known is not None:
            return known
        found = self._table.recorder(sanitise(text))
        if len(self._known) < self._limit and len(text) <= LONGEST:
            self._known[text] = found
        return found

    def _failed(self, error: Exception) -> Recorder:
        self._on_trouble(f"helper {self._which}: {in_words(error)}")
        return self._table.recorder(self._unknown)
