"""Writes the `.start`, `.end` and `.error` notifications of one target's calls into the spool.

The messages are oslo's format 1.0: https://docs.openstack.org/oslo.messaging/latest/reference/
notifier.html lists the fields; consumers want the payload to be an object in every case.
"""

from __future__ import annotations

import posix
from types import WrapperDescriptorType

from tach import spool
from tach.agent import clock, paths
from tach.agent.plain import HIDDEN, TEXT, Plain, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.meter import Ended
    from tach.agent.paths import Args, Kwargs, Lookup
    from tach.agent.requests import Requests
    from tach.agent.spool import SpoolWriter

    # A call that has begun, for its end: timestamp, payload, context, what `Requests.leave` needs,
    # and the number of the call in each spool that has not been told of its end.
    Started = tuple[str, str, str, Any, list[int]]
    # a member's name, its beginning in JSON, and how to find its value; None: not to be told
    Member = tuple[str, str, Lookup | None]

PAYLOAD_LIMIT = 64 << 10
_VERSION = '"tach_version":1'
_SAFE = (str, int, float, bool, type(None))
_ARGUMENTS: Any = BaseException.__dict__["args"]  # past any override
_REPORTS = 20  # distinct troubles of one target


class Events:
    """The notifications of one target.

    `plan` holds: event (the type without its suffix), publisher_id, payload (name -> path), hide.
    """

    def __init__(
        self,
        plan: dict[str, Any],
        function: Callable[..., Any],
        skip: int,
        spools: list[SpoolWriter],
        requests: Requests,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._event: str = plan["event"]
        self._plain = Plain(plan["hide"])
        self._signature = paths.Signature(function, skip)
        self._start = _head(plan, "start", "INFO")
        self._end = _head(plan, "end", "INFO")
        self._error = _head(plan, "error", "ERROR")
        self._of_arguments: list[Member] = []
        self._of_result: list[Member] = []
        for name, path in plan["payload"].items():
            members = self._of_result if path[0] == "result" else self._of_arguments
            members.append((name, f"{quote(name)}:", self._lookup(name, path)))
        self._spools = spools
        self._requests = requests
        self._on_trouble = on_trouble
        self._reported: set[str] = set()
        self._last_second = (0, "")

    def _lookup(self, name: str, path: paths.Path) -> Lookup | None:
        names = [name, *(str(step[1]) for step in path[1:])]
        hidden = any(self._plain.hides(each) for each in names)
        return None if hidden else paths.Lookup(path, self._signature)

    def start(
        self, args: Args, kwargs: Kwargs, payload: dict[Any, Any] | None = None
    ) -> Started | None:
        """A call begins: its `.start` is in the spool when this returns.

        `payload` is what a helper has found, beside what the paths lead to.

        Raises RecursionError, where the program has no frames left, and what is no Exception.
        """
        undo = None
        try:
            began = self._timestamp(clock.time())
            context, undo = self._requests.enter(self._signature, args, kwargs)
            # Written once for both messages: arguments may change during the call.
            members = self._found_by_helper(payload) if payload else ""
            members += self._members(self._of_arguments, args, kwargs, None)
            body = _body(self._start, began, f"{members}{_VERSION}", context)
            numbers = []
            for writer in self._spools:
                number = next(writer.call_numbers)
                numbers.append(number)
                writer.append(spool.START, number, body)
        except BaseException as error:
            self._requests.leave(undo)
            if not isinstance(error, Exception):
                raise
            self._report("its notifications are lost", error)
            return None
        return began, members, context, undo, numbers

    def stop(self, started: Started | None, ended: Ended) -> None:
        """The call has ended: its `.end` or `.error`. Raises as above.

        `started` is what `start` returned.
        """
        if started is None or not started[-1]:  # nothing to tell, or it has been
            return
        error = ended.error
        head, members = self._end, ""
        try:
            if error is not None:
                head, members = self._error, self._exception(error)
            elif self._of_result:
                members = self._members(self._of_result, (), {}, ended.result)
        finally:  # even if a property of the result has been interrupted
            self._finish(started, head, members, ended)

    def _finish(self, started: Started, head: str, members: str, ended: Ended) -> None:
        began, payload, context, undo, numbers = started
        try:
            self._requests.leave(undo)
            now = self._timestamp(clock.time())
            members = f'{payload}{members}"started_at":"{began}",{_durations(ended)}'
            body = _body(head, now, members + _VERSION, context)
            for writer in self._spools[-len(numbers) :]:
                writer.append(spool.END, numbers[0], body)
                numbers[:1] = ()
        except Exception as error:  # noqa: BLE001 - the program must not see it
            self._report("a notification is lost", error)

    def _found_by_helper(self, payload: dict[Any, Any]) -> str:
        """What a helper has found, as JSON members, each with a comma behind it."""
        text = self._plain.json(payload)[1:-1]
        if len(text) > PAYLOAD_LIMIT:
            self._on_trouble(f"event {self._event}: the payload of its helper is too large")
            return ""
        return f"{text}," if text else ""

    def _members(self, wanted: list[Member], args: Args, kwargs: Kwargs, result: Any) -> str:
        """What the paths lead to, as JSON members, each with a comma behind it."""
        text = ""
        for name, beginning, lookup in wanted:
            if lookup is None:
                text += f"{beginning}{HIDDEN},"
                continue
            try:
                value = self._plain.json(lookup.find(args, kwargs, result))
            except Exception as error:  # noqa: BLE001 - attributes of the program may raise it all
                value = "null"
                self._report(f"{name} of its payload is null", error)
            if len(text) + len(value) > PAYLOAD_LIMIT:
                value = '"<too large>"'
            text += f"{beginning}{value},"
        return text

    def _exception(self, error: BaseException) -> str:
        """The member `exception`, with a comma behind it."""
        try:
            return f'"exception":{self._exception_object(error)},'
        except Exception as trouble:  # noqa: BLE001 - it is an object of the program's
            self._report("an exception could not be told", trouble)
            return '"exception":{"kwargs":{}},'

    def _exception_object(self, error: BaseException) -> str:
        """What consumers look for in an exception: an object, whose `kwargs` is one too."""
        kind = type(error)
        details = object.__getattribute__(error, "__dict__")
        kwargs = details.get("kwargs")
        shown = self._plain.json(kwargs, 2) if type(kwargs) is dict else "{}"
        return (
            f'{{"class":{quote(str(kind.__qualname__))},"module":{quote(str(kind.__module__))},'
            f'"message":{self._message(error)},"kwargs":{shown},'
            f'"code":{self._plain.json(details.get("code"), 0)}}}'
        )

    def _message(self, error: BaseException) -> str:
        """Its text as JSON, without running any code of the program's."""
        arguments: tuple[Any, ...] = _ARGUMENTS.__get__(error)
        written_in_c = type(type.__getattribute__(type(error), "__str__")) is WrapperDescriptorType
        if written_in_c and all(type(each) in _SAFE for each in arguments):
            return quote(str(error)[:TEXT])
        shown = self._plain.json(arguments[0], 1) if arguments else '""'
        return shown if shown.startswith('"') else quote(shown)

    def _report(self, what: str, error: Exception) -> None:
        reason = f"no {error}" if type(error) is paths.Missing else f"{type(error).__name__}"
        text = f"event {self._event}: {what}: {reason}"
        if text not in self._reported and len(self._reported) < _REPORTS:
            self._reported.add(text)
            self._on_trouble(text)

    def _timestamp(self, now: float) -> str:
        """Naive UTC with a blank, as consumers parse it; one of them fails at an offset."""
        second = int(now)
        known, text = self._last_second
        if second != known:
            text = clock.strftime("%Y-%m-%d %H:%M:%S", clock.gmtime(second))
            self._last_second = (second, text)
        return f"{text}.{int((now - second) * 1e6):06d}"


def _durations(ended: Ended) -> str:
    """The members that say how long it took, in seconds, with a comma behind each."""
    text = f'"duration":{ended.elapsed / 1e9},'
    if ended.waiting is not None:
        running = max(ended.elapsed - ended.waiting, 0)
        text += f'"running":{running / 1e9},"waiting":{ended.waiting / 1e9},'
    return text


def _head(plan: dict[str, Any], suffix: str, priority: str) -> str:
    """What is the same in every such message."""
    return (
        f'","publisher_id":{quote(plan["publisher_id"])},"event_type":"{plan["event"]}.{suffix}",'
        f'"priority":"{priority}","timestamp":"'
    )


def _body(head: str, timestamp: str, payload: str, context: str) -> bytes:
    unique = posix.urandom(16).hex()
    message_id = f"{unique[:8]}-{unique[8:12]}-4{unique[13:16]}-a{unique[17:20]}-{unique[20:]}"
    return (
        f'{{"message_id":"{message_id}","_unique_id":"{unique}{head}{timestamp}",'
        f'"payload":{{{payload}}}{context}}}'
    ).encode("ascii")
