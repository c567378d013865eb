"""Print, as one Python literal, what a program finds around itself at its first line."""

import sys

modules = sorted(sys.modules)

import posix

main = sys.modules["__main__"]
spec = main.__spec__


def status(*names):
    with open("/proc/self/status") as file:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    return [lines[name] for name in names]


def target(descriptor):
    try:
        return posix.readlink("/proc/self/fd/" + descriptor)
    except OSError:
        return None  # it served to list them


def descriptors():
    found = {int(each): target(each) for each in posix.listdir("/proc/self/fd")}
    return {number: path for number, path in found.items() if path}


def children():
    try:
        return posix.waitpid(-1, posix.WNOHANG)
    except ChildProcessError:
        return None


print(
    {
        "modules": modules,
        "customised": [
            getattr(sys.modules.get(name), "__file__", None)
            for name in ("sitecustomize", "usercustomize")
        ],
        "descriptors": descriptors(),
        "children": children(),
        "pid": posix.getpid(),
        "parent": posix.getppid(),
        "group": posix.getpgrp(),
        "session": posix.getsid(0),
        "umask": status("Umask", "Name"),
        "threads": status("Threads"),
        "signals": status("SigBlk", "SigIgn", "SigCgt"),
        "cwd": posix.getcwd(),
        "environment": dict(posix.environ),
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "path": sys.path,
        "path_cached": sorted(sys.path_importer_cache),
        "path_hooks": [hook.__qualname__ for hook in sys.path_hooks],
        "meta_path": [getattr(each, "__name__", type(each).__name__) for each in sys.meta_path],
        "flags": repr(sys.flags),
        "warnoptions": sys.warnoptions,
        "writes_bytecode": not sys.dont_write_bytecode,
        "hooks": [sys.excepthook is sys.__excepthook__, sys.gettrace(), sys.getprofile()],
        "main": [main.__name__, getattr(main, "__file__", None), main.__package__],
        "spec": spec and [spec.name, spec.origin, type(spec.loader).__name__],
        "loader": [type(main.__loader__).__name__, getattr(main.__loader__, "__name__", None)],
        "names": sorted(vars(main)),
    }
)
