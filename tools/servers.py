"""The real servers, the browser, the debugger that tests start: installed where that is allowed."""

from __future__ import annotations

import shutil
from pathlib import Path

from environment import ROOT, SetupError, apt_install, can_install_packages, run

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
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
    return "" if RABBITMQ.exists() else _install("RabbitMQ", "rabbitmq-server")


def install_gdb() -> str:
    """Install gdb, by which tach gets into programs. Returns why it cannot be had, else nothing."""
    return "" if shutil.which("gdb") else _install("gdb", "gdb")


def _install(name: str, package: str) -> str:
    """Install the package of Debian. Returns why it cannot be had, else nothing."""
    if not can_install_packages():
        return f"install {name} (Debian: apt-get install {package}) and try again"
    try:
        apt_install(package)
    except SetupError as error:
        return str(error)
    return ""


def browser() -> str:
    """The path of a browser that can be run without a screen; "" if there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), "")


def install_browser() -> str:
    """Install chromium, for tests of pages. Returns why it cannot be had, else nothing."""
    if browser():
        return ""
    return _install("chromium", "chromium") or ("" if browser() else "chromium is not on PATH")
