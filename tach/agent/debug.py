"""The metric `debug`: tells each measurement, one line a call."""

from __future__ import annotations

from tach.agent.classes import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.meter import Ended


class Debug:
    """Tells calls, which go by `name` where they have no name of their own."""

    def __init__(self, name: str, tell: Callable[[str], None]) -> None:
        self._name = name
        self._tell = tell

    def start(self, _args: tuple[Any, ...], _kwargs: dict[str, Any], _payload: object) -> None:
        """Nothing to tell yet."""

    def stop(self, _started: None, ended: Ended) -> None:
        """Tell it."""
        outcome = "" if ended.error is None else f" {name_of(type(ended.error))}"
        name = ended.recorder.name or self._name
        self._tell(f"{name} {ended.elapsed / 1e6:.3f} ms{outcome}")
