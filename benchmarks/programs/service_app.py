"""A service in Flask: /N calls `work.handle`, and that N of the other functions, all in turn.

WAY and PORT in the environment tell in which way (of `ways`) they are measured by themselves.
"""

from __future__ import annotations

import itertools
import os

import flask
import work
from ways import WAYS

way = WAYS[os.environ.get("WAY", "bare")](int(os.environ.get("PORT", "0")))
for name in work.NAMES:
    setattr(work, name, way.decorate(getattr(work, name)))
functions = itertools.cycle([getattr(work, name) for name in work.NAMES[1:]])
app = flask.Flask(__name__)


@app.route("/<int:number>")
def serve(number: int) -> str:
    """Serve a request."""
    return str(work.handle(itertools.islice(functions, number)))
