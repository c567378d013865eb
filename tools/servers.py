"""The real servers that tests start: installed here, where the machine allows it."""

from __future__ import annotations

import shutil

from environment import ROOT, SetupError, apt_install, can_install_packages, run

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
