"""What is printed where stdout's encoding lacks characters: `?` for people, escapes for programs, never a traceback."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.table import Table

from captionless.runtime.encoding import json_for_stdout, json_text, replace_unknown, stdout_is_unicode
from captionless.terminal.console import results_console

ENCODINGS = ["ascii", "latin-1", "cp1252", "cp437", "koi8-r", "shift_jis", "utf-8", "utf-16"]
TEXT = "image→shape ± „Möbel“ 椅子 😀 \udcff"


def opened(encoding: str, monkeypatch: pytest.MonkeyPatch) -> io.TextIOWrapper:
    """Stdout in an encoding, as the interpreter opens it."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


def printed(stdout: io.TextIOWrapper) -> str:
    stdout.flush()
    raw = stdout.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode(stdout.encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_people_see_question_marks(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = opened(encoding, monkeypatch)
    replace_unknown()
    print(TEXT)
    table = Table(title=TEXT)
    table.add_column(TEXT)
    table.add_row(TEXT)
    results_console().print(table)
    found = printed(stdout)
    unknown = {c for c in TEXT if c.encode(stdout.encoding, "replace") == "?".encode(stdout.encoding)}
    assert "\udcff" in unknown
    assert found.startswith("".join("?" if c in unknown else c for c in TEXT) + "\n")
    assert found.count("shape") == 4


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_programs_get_the_same_document(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = opened(encoding, monkeypatch)
    replace_unknown()
    document = {"key": "椅子/😀 „Möbel“", "n": [1, "é"]}
    print(json_text(document), end="")
    assert json.loads(printed(stdout)) == document
    if stdout_is_unicode():
        assert "椅子" in printed(stdout)
        assert json_for_stdout('"é"') == '"é"'
    else:
        assert json_for_stdout('"é\\n😀"') == r'"\u00e9\n\ud83d\ude00"'


def test_a_command_prints_a_spec_that_is_read_back(tmp_path: Path) -> None:
    """A process of its own, since the interpreter chooses the encoding."""
    name = "Möbel-椅子→"
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        yaml.safe_dump({"data": {"source": {"kind": "folder", "url": name}}, "train": {"weights": ["uniform"]}})
    )
    command = [sys.executable, "-m", "captionless", "plan", str(spec), "--spec"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")
    assert yaml.safe_load(done.stdout.decode("latin-1"))["data"]["source"]["url"] == name
