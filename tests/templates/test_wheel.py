"""A wheel of tlkit carries the templates: in a fresh environment it bakes without the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(out),
        str(REPOSITORY),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("tlkit-*.whl")
    return built


def test_the_wheel_holds_every_template_file(wheel: Path):
    templates = REPOSITORY / "templates"
    wanted = {
        f"tlkit/_templates/{path.relative_to(templates).as_posix()}"
        for path in templates.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tlkit/_templates/")}
    assert wanted <= held
    assert wanted


def test_the_wheel_holds_the_pages_of_the_report(wheel: Path):
    pages = {f"tlkit/report/pages/{path.name}" for path in (REPOSITORY / "tlkit/report/pages").iterdir()}
    assert pages
    assert pages <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_the_messages_of_the_server(wheel: Path):
    assert "tlkit/serving/proto/descriptors.binpb" in zipfile.ZipFile(wheel).namelist()


def test_the_wheel_holds_the_deployment_files(wheel: Path):
    folder = REPOSITORY / "tlkit" / "serving" / "deploy_templates"
    wanted = {f"tlkit/serving/deploy_templates/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*.j2")}
    assert len(wanted) == 20
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_bakes_a_project_away_from_the_repository(wheel: Path, tmp_path: Path):
    (tmp_path / "dist").mkdir()
    wheel = Path(shutil.copy(wheel, tmp_path / "dist"))
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    asked = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    site = Path(asked.stdout.strip())
    install = [
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        str(wheel),
    ]
    subprocess.run([sys.executable, *install], check=True)
    # The dependencies are borrowed from here, but not an editable tlkit: its .pth file stays behind.
    borrowed = tmp_path / "borrowed"
    borrowed.mkdir()
    for item in Path(sysconfig.get_path("purelib")).iterdir():
        if not item.name.lower().startswith(("tlkit", "_tlkit", "__editable__")) and item.suffix != ".pth":
            (borrowed / item.name).symlink_to(item)
    (site / "borrowed.pth").write_text(f"{borrowed}\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    (tmp_path / "photos" / "ants").mkdir(parents=True)
    command = [home / "bin" / "tlkit", "new", "image-classification", "bees", "--data", "photos"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bees" / "train.py").is_file()
    line = (tmp_path / "bees" / "requirements.txt").read_text().splitlines()[2]
    assert line == f"../dist/{wheel.name}"
    # The line installs the same again where there is nothing yet; pytest and jupyter need an index.
    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=False)
    (tmp_path / "bees" / "only-tlkit.txt").write_text(f"{line}\n")
    again = ["-m", "pip", "--python", str(fresh / "bin" / "python"), "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([sys.executable, *again, "-r", "only-tlkit.txt"], cwd=tmp_path / "bees", check=True)
    told = subprocess.run(
        [fresh / "bin" / "python", "-c", "import tlkit; print(tlkit.__version__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == wheel.name.split("-")[1]
    where = subprocess.run(
        [python, "-c", "import tlkit; print(tlkit.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
    assert not list(tmp_path.glob(".cookiecutter*"))
