"""wrapt's ObjectProxy, without the 170 modules that `import wrapt` brings with it.

The program may still be about to patch some of those (ssl, threading, asyncio), so only wrapt's
extension module is loaded, beside the import system: the program finds wrapt as not yet imported.
"""

from __future__ import annotations

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_EXTENSION = "wrapt._wrappers"

# where wrapt is looked for if the program has none of its own
elsewhere: list[str] = []


def object_proxy() -> type[Any]:
    """wrapt's transparent proxy type.

    Raises ImportError where wrapt is not installed.
    """
    loaded = sys.modules.get("wrapt")
    module = loaded if hasattr(loaded, "ObjectProxy") else (_extension() or _whole())
    # wrapt 2's ObjectProxy adds __iter__, which a function does not have
    found: type[Any] = vars(module).get("BaseObjectProxy") or vars(module)["ObjectProxy"]
    return found


def is_there() -> bool:
    """Whether there is a wrapt to be imported."""
    return "wrapt" in sys.modules or _find() is not None


def _find() -> Any:
    """The spec of the package; None where it is not installed."""
    finder = sys.modules["_frozen_importlib_external"].PathFinder
    return finder.find_spec("wrapt") or finder.find_spec("wrapt", elsewhere)


def _whole() -> ModuleType:
    try:
        import wrapt
    except ModuleNotFoundError:
        spec = _find()
        if spec is None:
            raise
        whole: ModuleType = sys.modules["_frozen_importlib"]._load(spec)
        return whole
    return wrapt


def _extension() -> ModuleType | None:
    import _thread

    if _thread._count() or "wrapt" in sys.modules:
        return None  # another thread might see the stand-in package
    if posix.environ.get(b"WRAPT_DISABLE_EXTENSIONS"):
        return None
    try:
        return _load_extension()
    except Exception:  # noqa: BLE001 - whatever it is, importing the whole package may still work
        return None
    finally:
        # the extension of wrapt >= 2.2 asks the package for its other modules while it loads
        for name in [name for name in sys.modules if name.partition(".")[0] == "wrapt"]:
            del sys.modules[name]


def _load_extension() -> ModuleType | None:
    bootstrap = sys.modules["_frozen_importlib"]
    finder = sys.modules["_frozen_importlib_external"].PathFinder
    package = _find()
    if package is None or not package.submodule_search_locations:
        return None
    spec = finder.find_spec(_EXTENSION, package.submodule_search_locations)
    if spec is None:
        return None
    stand_in = type(sys)("wrapt")
    stand_in.__path__ = package.submodule_search_locations
    sys.modules["wrapt"] = stand_in
    module = bootstrap.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module  # type: ignore[no-any-return]
