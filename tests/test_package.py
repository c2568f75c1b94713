"""A wheel holds everything, and works outside the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.flow.conftest import environment, write_spec

ROOT = Path(__file__).parent.parent


def test_every_folder_of_code_is_a_listed_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {p.parent.relative_to(ROOT / "src") for p in (ROOT / "src").rglob("*.py")}
    found = {".".join(["captionless", *folder.parts]) for folder in folders}
    assert sorted(listed) == sorted(found)


@pytest.mark.flow
def test_a_wheel_installs_and_works_outside_the_checkout(tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    checkout = tmp_path / "checkout"  # building leaves its traces beside the sources
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".venv", ".git", "build", "runs", "*.egg-info"))
    subprocess.run(
        [scripts / "uv", "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", checkout], check=True
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    missing = {f"captionless/{n.removeprefix('src/')}" for n in tracked.splitlines()} - names
    assert not missing
    # A fresh environment whose dependencies are borrowed from this one: the wheel is the only captionless in front.
    venv.create(tmp_path / "env", symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")}))
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([scripts / "uv", "pip", "install", "--quiet", "--no-deps", "--python", python, wheel], check=True)
    where = subprocess.run(
        [python, "-c", "import captionless; print(captionless.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.strip() == str(site / "captionless" / "__init__.py")
    spec = write_spec(tmp_path)
    for arguments in (
        ["--version"],
        ["validate", str(spec)],
        ["list", str(spec)],
        ["pack", str(spec)],
        ["embed", str(spec)],
    ):
        done = subprocess.run(
            [tmp_path / "env" / "bin" / "captionless", *arguments],
            cwd=tmp_path, env=environment(), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "embed" / "manifest.json").exists()
