"""What classes say of themselves, past any code of their metaclasses."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_of: Any = type.__dict__

# Each takes a class. Raises AttributeError where a class has no module.
name_of: Callable[[type[Any]], str] = _of["__name__"].__get__
qualname_of: Callable[[type[Any]], str] = _of["__qualname__"].__get__
module_of: Callable[[type[Any]], Any] = _of["__module__"].__get__
mro_of: Callable[[type[Any]], tuple[type[Any], ...]] = _of["__mro__"].__get__
