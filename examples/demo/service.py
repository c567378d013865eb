"""An eventlet service with two worker processes that serve 500 customers each, ten at a time."""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()

import os
from contextlib import suppress

import shop

WORKERS = 2
CUSTOMERS = 500


def serve(catalogue: shop.Catalogue, customer: int) -> None:
    """One customer from entering to leaving, served or not."""
    with suppress(shop.OutOfStock, shop.PaymentRefused):
        shop.checkout(catalogue, customer)


def work() -> None:
    """The life of a worker."""
    catalogue = shop.Catalogue.load()
    pool = eventlet.GreenPool(10)
    for customer in range(CUSTOMERS):
        pool.spawn_n(serve, catalogue, customer)
    pool.waitall()


def main() -> None:
    """Start the workers and wait until they have ended."""
    workers = []
    for _ in range(WORKERS):
        pid = os.fork()
        if pid == 0:
            work()
            os._exit(0)
        workers.append(pid)
    for pid in workers:
        os.waitpid(pid, 0)
    print(f"{WORKERS} workers have served {WORKERS * CUSTOMERS} customers")


if __name__ == "__main__":
    main()
