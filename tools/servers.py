"""The real servers that tests start: installed here, where the machine allows it."""

from __future__ import annotations

import shutil
from pathlib import Path

from environment import ROOT, SetupError, apt_install, can_install_packages, run

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
NPM_INSTALL = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--omit=optional"]


def install_statsd() -> str:
    """Put node's statsd into node_modules/. Returns why it cannot be had, else nothing."""
    if (ROOT / "node_modules/statsd/stats.js").exists():
        return ""
    try:
        if not shutil.which("npm") and can_install_packages():
            apt_install("nodejs", "npm")
        if not shutil.which("npm"):
            return "install node and npm (Debian: apt-get install nodejs npm) and try again"
        run(NPM_INSTALL)
    except SetupError as error:
        return str(error)
    return ""


def install_rabbitmq() -> str:
    """Install RabbitMQ, which the tests start. Returns why it cannot be had, else nothing."""
    if RABBITMQ.exists():
        return ""
    if not can_install_packages():
        return "install RabbitMQ (Debian: apt-get install rabbitmq-server) and try again"
    try:
        apt_install("rabbitmq-server")
    except SetupError as error:
        return str(error)
    return ""
