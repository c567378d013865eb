"""What the views of `web` call: targets, because a route keeps the view itself from early on."""

from __future__ import annotations


class Shelf:
    def take(self, number: int) -> int:
        """Raise KeyError for every tenth number, ValueError for every other tenth."""
        if number % 10 == 3:
            raise KeyError(number)
        if number % 10 == 7:
            raise ValueError(number)
        return number + 1
