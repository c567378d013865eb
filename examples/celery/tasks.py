"""Two tasks. The broker is a directory, so that the example needs no server."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import celery
import pictures

DATA = Path(os.environ.get("SHOP_DATA") or Path(tempfile.gettempdir()) / "tach-example-celery")
for each in ("queue", "results"):
    (DATA / each).mkdir(parents=True, exist_ok=True)

app = celery.Celery("tasks", broker="filesystem://", backend=f"file://{DATA / 'results'}")
app.conf.broker_transport_options = {
    "data_folder_in": str(DATA / "queue"),
    "data_folder_out": str(DATA / "queue"),
    "control_folder": str(DATA / "control"),
    "polling_interval": 0.1,
}


@app.task(name="resize")
def resize(number: int) -> int:
    """Resize a picture."""
    return pictures.resize(number)


@app.task(name="notify")
def notify(number: int) -> str:
    """Tell somebody."""
    return f"{number} is done"
