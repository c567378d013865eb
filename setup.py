"""The installable package. The options of the tools are in pyproject.toml."""

from __future__ import annotations

import os
import runpy
import sysconfig
from pathlib import Path
from typing import Any

from setuptools import Extension, find_packages, setup

HERE = Path(__file__).parent
AMQP = "amqp>=5.1"
OTLP = ("opentelemetry-proto>=1.20", "urllib3>=1.26.15")


def constant(file: str, name: str) -> Any:
    """What the module `file`, which needs no other one, binds to `name`."""
    return runpy.run_path(str(HERE / file))[name]


def entry_points(package: str) -> list[str]:
    """A line for each plug-in that `package` brings along."""
    builtin = constant(f"tach/{package}/__init__.py", "BUILTIN")
    return [f"{name} = {target}" for name, target in builtin.items()]


def extensions() -> list[Extension]:
    """What tach can do without, each faster than its twin in Python.

    The probe, and the sender's arithmetic. None with TACH_PURE=1, no compiler, or no GIL.
    """
    if os.environ.get("TACH_PURE", "0") not in ("", "0"):
        return []
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return []
    warn = ["-Wall", "-Wextra"]
    # The same floats as from Python: no multiplication and addition in one.
    quick = ["-O3", "-ffp-contract=off", *warn]
    layout = "tach/_layout.h"
    return [
        Extension(
            "tach.agent._probe",
            ["tach/agent/_probe.c"],
            depends=[layout, *sorted(map(str, Path("tach/agent").glob("_*.h")))],
            extra_compile_args=["-O2", *warn],
            optional=True,
        ),
        Extension(
            "tach._buckets",
            ["tach/_buckets.c"],
            depends=[layout],
            extra_compile_args=quick,
            optional=True,
        ),
    ]


setup(
    name="tach",
    version=constant("tach/__init__.py", "__version__"),
    description="Measure the functions of an unmodified Python program",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    classifiers=[
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Programming Language :: Python :: Implementation :: CPython",
        "Topic :: System :: Monitoring",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["tach", "tach.*"]),
    package_data={
        "tach": [
            "py.typed",
            "*.json",
            "completions/*",
            "*.pyi",
            "agent/*.pyi",
            "agent/bootstrap/sitecustomize.py",
            "includes/*.yaml",
        ]
    },
    scripts=["bin/tach"],  # not an entry point, whose script costs a fifth of the start
    ext_modules=extensions(),
    install_requires=[
        "PyYAML>=5.4",
        "rich>=12",
        "statsd>=3.3",
        "wrapt>=1.14,!=2.2.0,!=2.2.1",
    ],
    extras_require={
        "amqp": [AMQP],
        "otlp": [*OTLP],
        "demo": ["eventlet"],
        "test": [
            AMQP,
            *OTLP,
            "anyio",
            "carbon==1.1.10; python_version < '3.12'",  # later ones cannot install it
            "eventlet",
            "flask",
            "gevent",
            "gunicorn==23.0.0",
            "hypothesis",
            "jsonschema",
            "prometheus-client",
            "pyte",  # a terminal, for the screens of tach top
            "pytest",
            "pytest-xdist",
            "trio",
            "txAMQP>=0.8; python_version < '3.12'",  # carbon's; older ones are Python 2
            "whisper==1.1.10",
        ],
        "dev": ["mypy~=2.4", "ruff~=0.17.6", "types-PyYAML", "types-protobuf"],
        # The reference consumer of notifications, and the publishers to compare with.
        # And what sends and receives jobs: see tests/test_queues.py.
        "bus": [AMQP, "celery", "kombu", "oslo.messaging"],
        "bench": ["eventlet", "flask", "gevent", "gunicorn==23.0.0", "matplotlib"],
        # What the programs of examples/ need.
        "examples": [
            "celery",
            "django",
            "eventlet",
            "fastapi",
            "flask",
            "gevent",
            "gunicorn==23.0.0",
            "uvicorn",
        ],
    },
    entry_points={
        "tach.metrics": entry_points("metrics"),
        "tach.notifiers": entry_points("notifiers"),
    },
    zip_safe=False,
)
