"""The view of the site, a class: its methods are looked up at each request."""

from __future__ import annotations

from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.views import View


class Stock(View):
    """How much there is of a thing."""

    def get(self, _: HttpRequest, number: int) -> HttpResponse:
        """Two queries; 404 for every tenth thing."""
        if number % 10 == 0:
            raise Http404
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s * 2", [number])
            (amount,) = cursor.fetchone()
            cursor.execute("SELECT %s - 1", [amount])
            return HttpResponse(str(cursor.fetchone()[0]))
