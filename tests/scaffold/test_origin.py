"""What a project's requirements.txt names, by where tlkit was installed from (PEP 610)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest

import tlkit
from tlkit.scaffold import origin
from tlkit.scaffold.new import new_project
from tlkit.scaffold.origin import is_beside, requirement_for, requirement_of

COMMIT = "4d4b8a3c" * 5
PROJECT = Path("/home/me/work/bees")


def of(**content: object) -> str:
    return requirement_of(content, "0.2.0.dev0", PROJECT)


def test_an_index_is_a_version():
    assert requirement_of(None, "0.2.0", PROJECT) == "tlkit~=0.2.0"
    assert requirement_of(None, "0.2.0.dev0", PROJECT) == "tlkit~=0.2.0.dev0"
    assert requirement_of(None, "0.2.0+cpu", PROJECT) == "tlkit~=0.2.0", "~= takes no local version"
    assert requirement_of({"url": "no address"}, "0.2.0", PROJECT) == "tlkit~=0.2.0"


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://example.org/a/tlkit.git", "https://example.org/a/tlkit.git"),
        ("https://me:secret@example.org/a/tlkit.git", "https://example.org/a/tlkit.git"),
        ("https://secret@example.org:8443/a/tlkit.git", "https://example.org:8443/a/tlkit.git"),
        ("https://example.org/a/tlkit.git?private_token=secret#egg=secret", "https://example.org/a/tlkit.git"),
        ("https://${USER}:${TOKEN}@example.org/a.git", "https://${USER}:${TOKEN}@example.org/a.git"),
        ("https://${USER}:secret@example.org/a.git", "https://example.org/a.git"),
        ("ssh://git@example.org/a/tlkit.git", "ssh://git@example.org/a/tlkit.git"),
        ("ssh://git:secret@example.org/a/tlkit.git", "ssh://git@example.org/a/tlkit.git"),
        ("file:///srv/git/tlkit.git", "file:///srv/git/tlkit.git"),
    ],
)
def test_a_repository_is_its_address_and_commit_without_secrets(url: str, written: str):
    assert of(url=url, vcs_info={"vcs": "git", "commit_id": COMMIT}) == f"tlkit @ git+{written}@{COMMIT}"


def test_a_repository_s_folder_is_named():
    info = {"vcs": "git", "commit_id": COMMIT, "requested_revision": "main"}
    got = of(url="https://example.org/a.git", vcs_info=info, subdirectory="kit/python")
    assert got == f"tlkit @ git+https://example.org/a.git@{COMMIT}#subdirectory=kit/python"


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/home/me/work/dist/tlkit-0.2.0-py3-none-any.whl", "../dist/tlkit-0.2.0-py3-none-any.whl"),
        ("/home/me/work/bees/wheels/tlkit-0.2.0.tar.gz", "./wheels/tlkit-0.2.0.tar.gz"),
        ("/srv/wheels/tlkit-0.2.0-py3-none-any.whl", "/srv/wheels/tlkit-0.2.0-py3-none-any.whl"),
        ("/srv/my%20wheels/tlkit-0.2.0.whl", "tlkit @ file:///srv/my%20wheels/tlkit-0.2.0.whl"),
    ],
)
def test_a_file_is_its_path(path: str, written: str):
    assert of(url=f"file://{path}", archive_info={"hashes": {"sha256": "0" * 64}}) == written


def test_an_archive_on_a_server_is_its_address_and_digest():
    url = "https://me:secret@example.org/w/tlkit-0.2.0-py3-none-any.whl?X-Signature=secret"
    clean = "tlkit @ https://example.org/w/tlkit-0.2.0-py3-none-any.whl"
    assert of(url=url, archive_info={}) == clean
    assert of(url=url, archive_info={"hashes": {"sha256": "ab" * 32}}) == f"{clean}#sha256={'ab' * 32}"


@pytest.mark.parametrize(
    ("path", "info", "written"),
    [
        ("/home/me/src/tlkit", {"editable": True}, "-e ../../src/tlkit"),
        ("/home/me/src/tlkit", {}, "../../src/tlkit"),
        ("/srv/a%20b/tlkit", {"editable": True}, "-e file:///srv/a%20b/tlkit"),
        ("/srv/a%20b/tlkit", {}, "tlkit @ file:///srv/a%20b/tlkit"),
    ],
)
def test_a_folder_is_its_path_from_the_project(path: str, info: dict[str, bool], written: str):
    assert of(url=f"file://{path}", dir_info=info) == written


def test_beside_is_the_folder_that_holds_the_project():
    assert is_beside(PROJECT, Path("/home/me/work/data"))
    assert is_beside(PROJECT, PROJECT / "data")
    assert not is_beside(PROJECT, Path("/home/me/data"))
    assert not is_beside(Path("/bees"), Path("/srv/data")), "everything lies below the root"


def test_what_is_installed_says_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert requirement_for(tmp_path / "bees").startswith("-e ../"), "the tests run in a checkout"
    monkeypatch.setattr(origin, "_PACKAGE", tmp_path / "site-packages" / "tlkit")
    monkeypatch.setattr(origin.importlib.metadata, "version", lambda name: "0.2.3")
    texts: dict[str, str | None] = {"direct_url.json": None}
    monkeypatch.setattr(
        origin.importlib.metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: texts[file])
    )
    assert requirement_for(tmp_path / "bees") == "tlkit~=0.2.3"
    for broken in ("", "{", "[]"):
        texts["direct_url.json"] = broken
        assert requirement_for(tmp_path / "bees") == "tlkit~=0.2.3"
    found = {"url": "https://me:pw@example.org/a.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}
    texts["direct_url.json"] = json.dumps(found)
    monkeypatch.setattr("tlkit.scaffold.new._PACKAGE", Path(__file__).parents[2] / "tlkit")
    project = new_project("image-classification", tmp_path / "bees", {})
    line = f"tlkit @ git+https://example.org/a.git@{COMMIT}"
    assert line in (project / "requirements.txt").read_text().splitlines()
    assert line in (project / ".tlkit.toml").read_text()


@pytest.mark.real
def test_a_new_project_s_requirements_install_in_a_fresh_environment(tmp_path: Path):
    project = new_project("text-sentiment", tmp_path / "reviews", {})
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Without tlkit's own dependencies, which are gigabytes: that they can be had, every installation shows.
    subprocess.run([*pip, "--no-deps", "-r", "requirements.txt"], cwd=project, env=environment, check=True)
    code = "import tlkit; print(tlkit.__version__, tlkit.__file__)"
    done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [tlkit.__version__, tlkit.__file__]
    assert sys.prefix not in done.stdout
