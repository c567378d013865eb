"""A Flask application for gunicorn: `GET /items/NUMBER` makes one call of a target."""

from __future__ import annotations

import flask
import stock

app = flask.Flask(__name__)


@app.get("/items/<int:number>")
def item(number: int) -> str:
    return str(stock.Shelf().take(number))
