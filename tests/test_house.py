from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {file.relative_to(ROOT).as_posix(): file for file in sorted(ROOT.glob("tach/**/*.py"))}
TESTS = sorted(ROOT.glob("tests/test_*.py"))

# Modules whose locks, threads and sockets the program may see or patch, or that are slow to import.
NEVER_IN_THE_PROGRAM = {
    "asyncio",
    "dataclasses",
    "logging",
    "queue",
    "socket",
    "ssl",
    "statsd",
    "subprocess",
    "tach.cli",
    "tach.config",
    "tach.launcher",
    "tach.metrics",
    "tach.notifiers",
    "tach.sender",
    "threading",
    "typing",
    "yaml",
}
FOR_PLUGINS = {"tach.samples", "tach.histogram", "tach.registry"}


def imports(tree: ast.AST, eager: bool = False) -> Iterator[str]:
    """What the module imports when it runs: `a.b` for `import a.b` and for `from a import b`.

    With `eager` only what it imports when it is imported itself.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole module"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from (name for each in node.orelse for name in imports(each, eager))
        elif not (eager and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from imports(node, eager)


def imported(file: str, eager: bool = False) -> set[str]:
    """What the source file imports, `__future__` left out."""
    tree = ast.parse(SOURCES[file].read_text())
    return {name for name in imports(tree, eager) if not name.startswith("__future__.")}


def within(name: str, modules: set[str]) -> bool:
    """Whether `name` is one of the modules or something in one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def own_sources(names: set[str]) -> set[str]:
    """The source files of tach that are loaded by importing `names`."""
    files = {"tach/__init__.py"}
    for name in names:
        parts = name.split(".")
        stems = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
        files |= {f"{stem}{end}" for stem in stems for end in (".py", "/__init__.py")}
    return files & SOURCES.keys()


def test_the_agent_sees_nothing_that_the_program_could_notice() -> None:
    """What runs inside the program imports no forbidden module, itself or through others."""
    seen: set[str] = set()
    wrong = []
    files = {file for file in SOURCES if file.startswith("tach/agent/")}
    while files:
        file = files.pop()
        seen.add(file)
        names = imported(file, eager=not file.startswith("tach/agent/"))
        wrong += [(file, name) for name in names if within(name, NEVER_IN_THE_PROGRAM)]
        files |= own_sources(names) - seen

    assert wrong == []
    assert "tach/layout.py" in seen


@pytest.mark.parametrize("package", ["metrics", "notifiers"])
def test_plugins_see_only_the_sample_types(package: str) -> None:
    """A metric type or notifier imports of tach what somebody else's could: the sample types."""
    allowed = {*FOR_PLUGINS, f"tach.{package}"}
    wrong = [
        (file, name)
        for file in SOURCES
        if file.startswith(f"tach/{package}/")
        for name in imported(file)
        if within(name, {"tach"}) and name != "tach" and not within(name, allowed)
    ]

    assert wrong == []


def test_nothing_imports_the_command_line() -> None:
    """`tach.cli` stands at the end of the chain; only `python -m tach` starts it."""
    users = [file for file in SOURCES if any(within(n, {"tach.cli"}) for n in imported(file))]

    assert users == ["tach/__main__.py"]


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_every_test_says_its_rule(file: Path) -> None:
    """Every test has a docstring: the rule that it holds."""
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if is_test(node)]

    assert [node.name for node in functions if not ast.get_docstring(node)] == []


def is_test(node: ast.AST) -> bool:
    """Whether pytest runs it."""
    named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return named and node.name.startswith("test_")


def test_everything_public_is_explained() -> None:
    """Every module, public class and public function of tach has a docstring."""
    silent = [
        (file, name)
        for file, source in SOURCES.items()
        for name, node in public(ast.parse(source.read_text()))
        if not ast.get_docstring(node)
    ]

    assert silent == []


def public(module: ast.Module) -> Iterator[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef]]:
    """The module, its public classes and functions, the public methods of these classes."""
    yield "", module
    owners: list[ast.Module | ast.ClassDef] = [module]
    for owner in owners:
        for node in owner.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_":
                yield node.name, node
                if isinstance(node, ast.ClassDef):
                    owners.append(node)


def test_the_changelog_knows_this_version() -> None:
    """The changelog has a section for the current version, or for what is not released yet."""
    scope: dict[str, str] = {}
    exec(SOURCES["tach/__init__.py"].read_text(), scope)
    headings = [
        line.removeprefix("## ").split(" ")[0].strip("[]")
        for line in (ROOT / "CHANGELOG.md").read_text().splitlines()
        if line.startswith("## ")
    ]

    assert {scope["__version__"], "Unreleased"} & {*headings}
