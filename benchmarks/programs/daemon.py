"""What a statsd daemon of this machine is to those who send to it: daemon.py PORT.

For each line of its input it prints how many milliseconds it has been told of in all.
"""

from __future__ import annotations

import re
import select
import socket
import sys

MILLISECONDS = re.compile(rb"^[^\n]*?:([0-9.]+)\|ms", re.MULTILINE)


def main(port: int) -> None:
    """Read until the input ends."""
    told = 0.0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", port))
        print("ready", flush=True)
        while True:
            readable, _, _ = select.select([daemon, sys.stdin], [], [])
            if daemon in readable:
                told += sum(map(float, MILLISECONDS.findall(daemon.recv(1 << 16))))
            elif sys.stdin.readline():
                print(told, flush=True)
            else:
                return


main(int(sys.argv[1]))
