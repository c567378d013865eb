"""A FastAPI application whose handlers wait for others: `POST /orders/NUMBER`."""

from __future__ import annotations

import fastapi
import warehouse

app = fastapi.FastAPI()


@app.post("/orders/{number}", status_code=201)
async def place(number: int) -> dict[str, int]:
    """Reserve and ship; 409 where there is nothing left."""
    try:
        return {"parcels": await warehouse.ship(number)}
    except warehouse.Empty:
        raise fastapi.HTTPException(409, "empty") from None
