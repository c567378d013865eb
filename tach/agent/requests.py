"""To which request a call belongs: what its notifications carry as context."""

from __future__ import annotations

import posix
import sys
from types import MemberDescriptorType

from tach.agent.plain import quote
from tach.agent.propagation import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Token
    from typing import Any

    from tach.agent.paths import Args, Kwargs, Signature

# All of the context that leaves the process; tokens are in there too.
_KEPT = ("request_id", "global_request_id", "project_id", "user_id", "user", "is_admin")
_PARAMETERS = ("context", "ctxt", "ctx", "request_context")
_LONGEST = 255


class Requests:
    """Finds the request of a call, or makes one up at the outermost one for the inner ones too."""

    def enter(
        self, signature: Signature, args: Args, kwargs: Kwargs
    ) -> tuple[str, Token[str | None] | None]:
        """The message's context, as JSON members with a leading comma, and what `leave` needs."""
        known = _known(signature, args, kwargs)
        outer = current.get()
        request_id = known.setdefault("request_id", outer or _new_id())
        if "project_id" in known:
            known["tenant"] = known["project_id"]
        text = "".join([f',"_context_{key}":{_json(each)}' for key, each in known.items()])
        if request_id == outer:
            return text, None
        try:
            return text, current.set(str(request_id))
        except BaseException:  # a signal handler has come up
            current.set(outer)
            raise

    def leave(self, undo: Token[str | None] | None) -> None:
        """The call is over."""
        if undo is not None:
            try:
                current.reset(undo)
            except (ValueError, RuntimeError):  # it ends in another context; or it has already
                return


def _known(signature: Signature, args: Args, kwargs: Kwargs) -> dict[str, str | bool]:
    """What is known of the request: from an argument of the call, else from oslo.context."""
    for name in _PARAMETERS:
        place = signature.places.get(name, -1)
        found = args[place] if 0 <= place < len(args) else kwargs.get(name)
        if found is not None and (known := _kept(found)):
            return known
    first = args[signature.skip] if len(args) > signature.skip else None
    if type(first) is not dict and (known := _kept(first)):
        return known
    get_current = getattr(sys.modules.get("oslo_context.context"), "get_current", None)
    return {} if get_current is None else _kept(get_current())


def _kept(context: Any) -> dict[str, str | bool]:
    """What may be told of a context, found without asking it: it may be any object."""
    values = context if type(context) is dict else _attributes(context)
    known: dict[str, str | bool] = {}
    for key in _KEPT:
        value = values.get(key)
        if value is True or value is False:
            known[key] = value
        elif type(value) is str and value:
            known[key] = value[:_LONGEST]
    return known


def _attributes(found: Any) -> dict[str, Any]:
    """Those of the object itself, if it has a `request_id`; else it is no context."""
    try:
        own: dict[str, Any] = object.__getattribute__(found, "__dict__")
        if "request_id" in own:
            return own
    except AttributeError:
        own = {}
    places = type.__getattribute__(type(found), "__mro__")
    names = [type.__getattribute__(place, "__dict__") for place in places]
    if not any("request_id" in each for each in names):
        return {}
    inherited = {key: each[key] for each in reversed(names) for key in _KEPT if key in each}
    return {key: _plain(each, found) for key, each in {**inherited, **own}.items()}


def _plain(value: Any, found: Any) -> Any:
    """The value of an attribute; of what is computed, only slots."""
    if type(value) is not MemberDescriptorType:
        return value
    try:
        return value.__get__(found)
    except AttributeError:
        return None


def _json(value: str | bool) -> str:
    return quote(value) if isinstance(value, str) else "true" if value else "false"


def _new_id() -> str:
    random = posix.urandom(16).hex()
    return f"req-{random[:8]}-{random[8:12]}-4{random[13:16]}-a{random[17:20]}-{random[20:]}"
