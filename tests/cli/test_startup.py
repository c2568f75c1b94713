"""Starting is fast: `--help`, shell completion and `import captionless` load nothing that they do not need.

What they cost is measured by `make bench-startup`; here the loaded modules are counted, which no load on the machine
changes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

HEAVY = (
    "botocore", "faiss", "fsspec", "h5py", "jinja2", "kopf", "kubernetes", "numba", "numpy", "open_clip", "openai",
    "PIL", "plotly", "prometheus_client", "scipy", "torch", "trimesh", "webdataset", "yaml",
)  # fmt: skip
"""Libraries that only commands at work may load. (typer itself loads pydantic when a command is invoked.)"""

OWN = ("cli", "clip.demo", "errors", "precompute.testsets", "runtime", "spec.weights")
"""The package's modules that define the command line, with the packages around them; no others may be loaded."""

GROUPS = ((), ("k8s",), ("search",), ("classify",), ("similarity",), ("data",))
COMMANDS = (("run",), ("pack",), ("eval",), ("render",), ("doctor",), ("compare",), ("k8s", "submit"))


def _allowed(module: str) -> bool:
    name = module.removeprefix("captionless").removeprefix(".")
    return any(f"{own}.".startswith(f"{name}.") or f"{name}.".startswith(f"{own}.") for own in OWN) or not name


def _loaded(arguments: Sequence[str], **environment: str) -> set[str]:
    """The modules that a command has loaded when it ends, and `GC` if garbage is collected then."""
    script = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: print('LOADED', 'GC' if gc.isenabled() else '', *sys.modules))\n"
        f"sys.argv = ['captionless', *{list(arguments)!r}]\n"
        "from captionless.__main__ import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return set(done.stdout.rpartition("LOADED ")[2].split())


def _assert_light(loaded: set[str]) -> None:
    assert "captionless.cli.app" in loaded
    assert not loaded & set(HEAVY)
    own = {name for name in loaded if name.partition(".")[0] == "captionless"}
    assert not {name for name in own - {"captionless.__main__"} if not _allowed(name)}


@pytest.mark.parametrize("command", [*GROUPS, *COMMANDS], ids=lambda words: " ".join(("captionless", *words)))
def test_help_loads_no_heavy_library(command: tuple[str, ...]) -> None:
    _assert_light(_loaded([*command, "--help"]))


def test_help_of_the_application_loads_no_pydantic() -> None:
    assert "pydantic" not in _loaded(["--help"])


def test_completion_loads_no_heavy_library() -> None:
    loaded = _loaded([], _CAPTIONLESS_COMPLETE="complete_bash", COMP_WORDS="captionless k8s lo", COMP_CWORD="2")
    _assert_light(loaded)


def test_garbage_is_collected_while_a_command_runs() -> None:
    assert "GC" in _loaded(["validate", str(Path(__file__).parents[2] / "examples" / "demo.yaml")])


def test_signals_are_handled_before_anything_else_is_loaded() -> None:
    script = (
        "import sys\n"
        "from captionless.runtime import signals\n"
        "signals.stop_on_signals = lambda: print('LOADED', *sys.modules)\n"
        "sys.argv = ['captionless', '--version']\n"
        "from captionless.__main__ import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(next(line for line in done.stdout.splitlines() if line.startswith("LOADED")).split())
    assert "captionless.runtime.signals" in loaded
    assert not loaded & {*HEAVY, "pydantic", "rich", "typer", "logging", "captionless.cli"}


def test_annotations_of_commands_are_no_strings() -> None:
    modules = (Path(__file__).parents[2] / "src" / "cli").glob("*.py")
    commands = {module.name: text for module in modules if "typer.Option(" in (text := module.read_text())}
    assert len(commands) > 5
    assert not [name for name, text in commands.items() if "\nfrom __future__ import" in text]


def test_importing_the_package_loads_nothing() -> None:
    script = "import sys; before = set(sys.modules); import captionless; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["captionless"]
