"""A Flask application: `POST /orders/NUMBER` places an order, `GET /orders` lists what is open."""

from __future__ import annotations

import flask
import orders

app = flask.Flask(__name__)
book = orders.Book()


@app.post("/orders/<int:number>")
def place(number: int) -> tuple[str, int]:
    """Place an order; 409 where there is nothing left."""
    try:
        book.place(number)
    except orders.SoldOut:
        return "sold out\n", 409
    return "placed\n", 201


@app.get("/orders")
def list_orders() -> list[int]:
    """The orders that this worker has taken."""
    return book.list_open()
