"""Sends files to an archive, some of them large; one fails."""

import time


class Archive:
    """Takes 100 megabytes a second."""

    def send(self, data):
        """Raises ValueError where there is nothing to send."""
        if not data:
            raise ValueError("nothing to send")
        time.sleep(len(data) / 100e6)
