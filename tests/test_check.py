"""`tach check`: what a configuration means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFIG = """\
prefix: shop.{host}
notifiers:
  statsd: {type: statsd, port: 8126}
  bus: {type: amqp, url: ["amqp://user:sesame@a//", "amqp://user:sesame@b//"], exchange: nova}
targets:
  checkout: shop.orders:checkout
  find: {function: "shop.catalogue:Catalogue.find", metrics: timing, notifiers: statsd}
"""


def test_the_plan_is_shown_without_passwords(tmp_path: Path) -> None:
    """Every notifier and target with all that was decided for it; of URLs, not who logs in."""
    (tmp_path / "tach.yaml").write_text(CONFIG)

    shown = subprocess.run(
        [sys.executable, "-m", "tach", "check", "tach.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert shown == (
        "tach.yaml: 2 targets, every 1 s\n"
        "notifier statsd: statsd port=8126\n"
        "notifier bus: amqp url=amqp://***@a//,amqp://***@b// exchange=nova\n"
        "target shop.{host}.checkout: shop.orders:checkout\n"
        "    timing, count, exceptions -> statsd, bus\n"
        "target shop.{host}.find: shop.catalogue:Catalogue.find\n"
        "    timing -> statsd\n"
    )
