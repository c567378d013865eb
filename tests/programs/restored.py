"""Edits its own configuration at random, and looks at what is measured. usage: restored.py SEED"""

import glob
import json
import os
import random
import sys

import edited_targets as targets

import tach
from tach.reload import RELOAD

OWNERS = {"": targets, "Base.": targets.Base, "Derived.": targets.Derived}
RAW = {prefix: dict(vars(owner)) for prefix, owner in OWNERS.items()}
FUNCTIONS = ["twice", "Base.inherited", "Derived.inherited", "Derived.static", "generating"]


def write(measured):
    names = {f"{name}{number}": f"edited_targets:{name}" for name, number in measured}
    names["always"] = "edited_targets:always"
    report = {"type": "console", "format": "json", "file": os.path.abspath("report.jsonl")}
    with open("own.yaml", "w") as file:
        json.dump({"notifiers": {"report": report}, "targets": names}, file)


chance = random.Random(int(sys.argv[1]))
write([])
tach.install("own.yaml")
run = glob.glob(f"{os.environ['TACH_RUN_DIR']}/tach-*-{os.getpid()}-*")[0]
for _ in range(40):
    measured = [(name, number) for name in FUNCTIONS for number in (1, 2) if chance.random() < 0.4]
    write(measured)
    answer = RELOAD.ask([run], 20)[run]
    assert answer["errors"] == [], answer
    targets.always()
    for prefix, owner in OWNERS.items():
        wanted = {name for name, _ in measured if name.startswith(prefix)}
        now = vars(owner)
        for name in {*RAW[prefix], *now} - {"always"}:
            is_raw = now.get(name) is RAW[prefix].get(name)
            is_wanted = prefix + name in wanted
            if is_raw == is_wanted and name in ("twice", "inherited", "static", "generating"):
                print("wrong:", prefix + name, measured)
tach.uninstall()
for prefix, owner in OWNERS.items():
    now = vars(owner)
    assert now.keys() >= RAW[prefix].keys()
    assert [name for name, each in RAW[prefix].items() if now[name] is not each] == []
