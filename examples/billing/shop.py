"""A shop that knows nothing of tach: twelve orders of two customers, two of them refused."""


class Refused(Exception):
    """The customer's bank said no."""


class Request:
    """Who asks, and under which number."""

    def __init__(self, number, customer):
        self.request_id = f"req-{number}"
        self.project_id = customer


class Till:
    """Takes the money."""

    def charge(self, request, amount, card):
        """The number of the receipt. Raises Refused."""
        if amount > 90:
            raise Refused(f"{amount} is too much for {card[-4:]}")
        return {"receipt": f"r-{request.request_id}", "amount": amount}


def main():
    """Charge them all."""
    till, refused = Till(), 0
    for number in range(12):
        request = Request(number, customer="north" if number % 3 else "south")
        try:
            till.charge(request, amount=10 * number, card="4000 0000 0000 0002")
        except Refused:
            refused += 1
    print(f"12 orders, {refused} refused")


if __name__ == "__main__":
    main()
