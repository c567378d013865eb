"""A nightly job: cancels the orders that nobody has paid. It is over in an instant."""

from __future__ import annotations

ORDERS = range(1, 31)


class Paid(Exception):
    """The order was paid while we looked."""


def is_unpaid(order: int) -> bool:
    """Whether nobody has paid for the order yet."""
    return order % 3 == 0


def cancel(order: int) -> None:
    """Cancel one order."""
    if order % 15 == 0:
        raise Paid(order)


def try_to_cancel(order: int) -> bool:
    """Whether it could be cancelled."""
    try:
        cancel(order)
    except Paid:
        return False
    return True


def main() -> int:
    """Cancel all that can be; the exit status tells cron whether some could not."""
    done = [try_to_cancel(order) for order in ORDERS if is_unpaid(order)]
    return 0 if all(done) else 1


if __name__ == "__main__":
    raise SystemExit(main())
