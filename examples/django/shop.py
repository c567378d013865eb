"""A whole Django site in one file: `GET /stock/NUMBER` asks the database."""

from __future__ import annotations

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for this example",
)
django.setup()

import views

urlpatterns = [path("stock/<int:number>", views.Stock.as_view())]
application = get_wsgi_application()
