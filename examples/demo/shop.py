"""A small shop: it waits as a database or a bank would make it wait."""

from __future__ import annotations

import time


class OutOfStock(Exception):
    """There is nothing left of it."""


class PaymentRefused(Exception):
    """The bank says no."""


class Catalogue:
    """What there is to buy, and at what price in cents."""

    def __init__(self, prices: dict[str, int]) -> None:
        self.prices = prices

    @classmethod
    def load(cls) -> Catalogue:
        """The catalogue of today."""
        time.sleep(0.05)
        return cls({"tea": 450, "coffee": 780, "cup": 1200})

    def find(self, customer: int) -> str:
        """What the customer wants; every tenth time there is none left."""
        time.sleep(0.002 + customer % 7 / 1000)
        if customer % 10 == 9:
            raise OutOfStock(f"customer {customer}")
        return sorted(self.prices)[customer % len(self.prices)]

    @staticmethod
    def price(cents: int) -> str:
        """The price as the customer reads it."""
        return f"{cents // 100}.{cents % 100:02}"


def pay(customer: int, price: str) -> None:
    """Ask the bank for the money; it refuses every 25th customer."""
    time.sleep(0.005 + customer % 11 / 500)
    if customer % 25 == 0:
        raise PaymentRefused(f"{price} from customer {customer}")


def checkout(catalogue: Catalogue, customer: int) -> None:
    """Sell one article to the customer."""
    article = catalogue.find(customer)
    pay(customer, catalogue.price(catalogue.prices[article]))
