"""Copies memory until the file STOP is there; prints whether all copies came out right.

usage: copying.py STOP
"""

import os
import sys

original = bytes(range(1, 256)) * 2048
wrong = 0
print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    for _ in range(50):
        wrong += bytearray(original) != original
print(wrong)
