"""A real browser, which looks at pages without a screen."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from servers import browser

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
TIMEOUT = 120.0
# Whatever goes wrong in the page's own script can be seen in what it has become.
WATCHING = "<script>onerror = text => document.body.dataset.trouble = text</script>"


def look_at(page: Path, directory: Path, script: str) -> str:
    """What becomes of the page of HTML when `script` has run in it after its own, as HTML."""
    command = browser()
    if not command:
        pytest.skip("no chromium here: apt-get install chromium")
    text = page.read_text().replace("<head>", f"<head>{WATCHING}")
    watched = directory / f"watched-{page.name}"
    watched.write_text(text.replace("</body>", f"<script>{script}</script></body>"))
    done = subprocess.run(
        [
            *(command, *FLAGS.split(), f"--user-data-dir={directory / 'browser'}"),
            *("--window-size=1300,900", "--dump-dom", watched.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert "</html>" in done.stdout, done.stderr
    return done.stdout
