from collections.abc import Callable
from typing import Any

from tach.agent.distribution import Distribution
from tach.agent.recorder import Recorder

LAYOUT: dict[str, int]

class Account:
    name: str
    def __init__(self, name: str, /) -> None: ...

class Frame:
    caller: str | None
    nested: bool
    within: int
    def __init__(self, account: Account, /) -> None: ...
    def resume(self) -> None: ...
    def pause(self) -> None: ...

class Series:
    def __init__(self, recorder: Distribution, inflight: bool = False) -> None: ...
    def attribute(
        self,
        account: Account,
        own: Series,
        nested: Series | None = ...,
        waiting: Series | None = ...,
        by_caller: Callable[[str], Series] = ...,
        /,
    ) -> None: ...
    def divide(
        self,
        running: Series | None,
        waiting: Series | None,
        max_run: Series | None,
        cpu: Series | None,
        yields: Series | None,
        /,
    ) -> None: ...
    def reset(self) -> None: ...
    def count(self, elapsed: int, /) -> None: ...

class Watch:
    out: int
    pauses: int
    cpu: int
    longest: int
    def __init__(self, greenlet: Any, cpu: bool, stretches: bool, /) -> None: ...
    def end(self) -> None: ...

class Switch:
    def __init__(self, function: Callable[..., Any], /) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

def now() -> int: ...
def watched_greenlets() -> int: ...
def forget_greenlets() -> None: ...
def probe_types(proxy: type[Any], /) -> tuple[type[Any], type[Any]]: ...
def finish(type: type[Any], call: Callable[..., Any] | None, /) -> None: ...
def counting_probe(
    type: type[Any], function: Any, recorder: Recorder, series: Series, /
) -> Any: ...
def measuring_probe(
    type: type[Any],
    function: Any,
    recorder: Recorder,
    enter: Callable[..., Any],
    leave: Callable[..., Any],
    /,
) -> Any: ...
def stepping_probe(
    type: type[Any],
    function: Any,
    recorder: Recorder,
    series: Series | None,
    make_stand: Callable[..., Any],
    make_work: Callable[..., Any],
    steps: bool,
    /,
) -> Any: ...
def disable(probe: Any, /) -> None: ...
def become(probe: Any, other: Any, /) -> None: ...
def watch(view: memoryview, /) -> None: ...
def listen(take: Callable[[], bool], /) -> None: ...
