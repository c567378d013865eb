"""The installable package. The options of the tools are in pyproject.toml."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from setuptools import find_packages, setup

HERE = Path(__file__).parent
AMQP = "amqp>=5.1"


def constant(file: str, name: str) -> Any:
    """What the module `file`, which needs no other one, binds to `name`."""
    return runpy.run_path(str(HERE / file))[name]


def entry_points(package: str) -> list[str]:
    """A line for each plug-in that `package` brings along."""
    builtin = constant(f"tach/{package}/__init__.py", "BUILTIN")
    return [f"{name} = {target}" for name, target in builtin.items()]


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
        "Topic :: System :: Monitoring",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["tach", "tach.*"]),
    package_data={"tach": ["py.typed", "*.json", "agent/bootstrap/sitecustomize.py"]},
    install_requires=[
        "PyYAML>=5.4",
        "rich>=12",
        "statsd>=3.3",
        "wrapt>=1.14,!=2.2.0,!=2.2.1",
    ],
    extras_require={
        "amqp": [AMQP],
        "demo": ["eventlet"],
        "test": [
            AMQP,
            "carbon==1.1.10; python_version < '3.12'",  # later ones cannot install it
            "eventlet",
            "flask",
            "gevent",
            "gunicorn==23.0.0",
            "hypothesis",
            "jsonschema",
            "pytest",
            "pytest-xdist",
            "txAMQP>=0.8; python_version < '3.12'",  # carbon's; older ones are Python 2
            "whisper==1.1.10",
        ],
        "dev": ["mypy~=2.4", "ruff~=0.17.6", "types-PyYAML"],
        # The reference consumer of notifications, and the publishers to compare with.
        "bus": [AMQP, "kombu", "oslo.messaging"],
        "bench": ["prometheus-client"],
    },
    entry_points={
        "console_scripts": ["tach = tach.cli:main"],
        "tach.metrics": entry_points("metrics"),
        "tach.notifiers": entry_points("notifiers"),
    },
    zip_safe=False,
)
