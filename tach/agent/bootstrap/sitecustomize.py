"""Starts tach in each Python process of a run, then makes way for the program's own sitecustomize.

`site` imports this file before the program's first line because the launcher put its directory on
PYTHONPATH. It is read by whatever Python the program starts, old ones too: no modern syntax here.
"""

import sys


def _start(here):
    # The program must find sys.path as it would be without tach.
    sys.path[:] = [path for path in sys.path if path != here]
    sys.path_importer_cache.pop(here, None)
    if sys.version_info < (3, 10):
        return
    try:
        from tach.agent import session
    except ImportError:  # an interpreter of its own, without tach: it runs unmeasured
        return
    session.start(here.rpartition("/")[0])


_start(__file__.rpartition("/")[0])

# Raises ImportError, as it would without tach, where the program has no sitecustomize: then `site`
# carries on and this module leaves no trace in sys.modules.
del sys.modules["sitecustomize"]
import sitecustomize  # noqa: E402, F401
