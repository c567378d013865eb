"""A program that knows nothing of tach: a hundred orders."""

from contextlib import suppress


def order(number):
    """Every tenth is for nothing. Raises ValueError."""
    if number % 10 == 0:
        raise ValueError(number)


def main():
    """Place them all."""
    for number in range(100):
        with suppress(ValueError):
            order(number)
    print("100 orders")


if __name__ == "__main__":
    main()
