"""Sees the functions of the program's own file as they are defined, before they are called.

That file is not imported but run, as module `__main__`, so that no import hook sees it; and it may
call a function on the line behind its definition. Its lines are watched while it defines things:
with sys.monitoring, for that one code object alone, or before Python 3.12 with a trace function,
which is given up once the last function has been defined.

`python -m package.module` runs the module of that name so, and the processes that multiprocessing
spawns run the file once more, as `__mp_main__`.
"""

from __future__ import annotations

import sys

from tach import agent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, ModuleType
    from typing import Any

MAIN = "__main__"
_OF_CHILD = "__mp_main__"
# how the -c of processes that are spawned begins; that of forkserver since Python 3.14
_CHILD_CODE = ("from multiprocessing.", "import sys; from multiprocessing.")
_MODULE = "<module>"
_TOOLS = (4, 3)  # the numbers that sys.monitoring leaves to whoever comes


class MainModule:
    """Calls `defined(module)` whenever the main module may have defined something that matters.

    `needed` are the names of the module that targets begin with; with `has_patterns` any function
    may matter. In the end `over(module)` is called.
    """

    def __init__(
        self,
        needed: frozenset[str],
        has_patterns: bool,
        defined: Callable[[ModuleType], None],
        over: Callable[[ModuleType], None],
    ) -> None:
        self._needed = needed
        self._has_patterns = has_patterns
        self._defined = defined
        self._over = over
        self._known: tuple[Any, ...] = ()
        self._module: ModuleType | None = None
        self._last_line = 0
        self._assigned: frozenset[str] = frozenset()
        self._tool = 0
        self._of_child = any(each.startswith(_CHILD_CODE) for each in sys.orig_argv)
        self._monitoring: Any = getattr(sys, "monitoring", None)

    def watch(self) -> None:
        """Wait for the main module to begin."""
        if self._monitoring is not None:
            self._watch_with_monitoring()
        else:
            self._previous = sys.gettrace()
            sys.settrace(self._traced)

    def _module_of(self, code: CodeType, frame: FrameType) -> ModuleType | None:
        """The main module, if that is what begins to run."""
        if code.co_name != _MODULE:
            return None
        name = frame.f_globals.get("__name__")
        if name != (_OF_CHILD if self._of_child else MAIN):
            return None
        module = sys.modules.get(name)
        return module if getattr(module, "__dict__", None) is frame.f_globals else None

    def _begin(self, module: ModuleType, code: CodeType) -> None:
        self._module = module
        self._last_line = _last_line(code)
        self._assigned = frozenset(code.co_names)

    def _goes_on(self, line: int) -> bool:
        """Tell what is new; False once there is nothing more to wait for."""
        names = vars(self._module)
        known = (*[id(names.get(each)) for each in self._needed], self._has_patterns and len(names))
        if known != self._known:
            self._known = known
            self._defined(self._module)  # type: ignore[arg-type]
        missing = self._needed - names.keys()
        if missing & self._assigned:
            return True
        return line <= self._last_line  # until then a name may be defined anew

    def _goes_on_safely(self, line: int) -> bool:
        """The same; raises only what is the program's."""
        try:
            return self._goes_on(line)
        except Exception as error:
            if agent.is_of_the_program(error):
                raise
            return False

    def _end(self) -> None:
        module, self._module = self._module, None
        if module is not None:
            self._over(module)

    # with sys.monitoring

    def _watch_with_monitoring(self) -> None:
        monitoring = self._monitoring
        free = [each for each in _TOOLS if monitoring.get_tool(each) is None]
        if not free:
            return
        self._tool = free[0]
        monitoring.use_tool_id(self._tool, "tach")
        events = monitoring.events
        monitoring.register_callback(self._tool, events.PY_START, self._started)
        monitoring.register_callback(self._tool, events.LINE, self._line)
        monitoring.register_callback(self._tool, events.PY_RETURN, self._returned)
        monitoring.set_events(self._tool, events.PY_START)

    def _started(self, code: CodeType, _offset: int) -> Any:
        module = self._module_of(code, sys._getframe(1))
        if module is None:
            return self._monitoring.DISABLE
        events = self._monitoring.events
        self._begin(module, code)
        self._monitoring.set_events(self._tool, 0)
        self._monitoring.set_local_events(self._tool, code, events.LINE | events.PY_RETURN)
        return None

    def _line(self, code: CodeType, line: int) -> Any:
        if not self._goes_on_safely(line):
            self._stop_monitoring(code)

    def _returned(self, code: CodeType, _offset: int, _result: object) -> Any:
        self._goes_on_safely(self._last_line)
        self._stop_monitoring(code)

    def _stop_monitoring(self, code: CodeType) -> None:
        self._monitoring.set_local_events(self._tool, code, 0)
        self._monitoring.free_tool_id(self._tool)
        self._end()

    # with a trace function

    def _traced(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event != "call":
            return None
        module = self._module_of(frame.f_code, frame)
        if module is not None:
            self._begin(module, frame.f_code)
            return self._traced_main
        if self._of_child and frame.f_code.co_name == "_bootstrap":
            sys.settrace(self._previous)  # the child runs no file of the program's
        return None

    def _traced_main(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "exception":
            return self._traced_main
        if event == "return" or not self._goes_on_safely(frame.f_lineno):
            self._goes_on_safely(self._last_line)
            if sys.gettrace() == self._traced:
                sys.settrace(self._previous)
            self._end()
            return None
        return self._traced_main


def _last_line(code: CodeType) -> int:
    """The last line of the functions and classes that the code defines."""
    last = 0
    for each in code.co_consts:
        if type(each) is type(code) and not each.co_name.startswith("<"):
            lines = [line for _, _, line in each.co_lines() if line]
            last = max(last, _last_line(each), *lines)
    return last
