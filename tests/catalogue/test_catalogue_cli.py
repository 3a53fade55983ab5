from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tlkit.catalogue import image, text
from tlkit.cli.weights import app
from tlkit.errors import ModelError, WeightsError


@pytest.fixture
def local(tmp_path, monkeypatch):
    path = tmp_path / "resnet50.h5"
    path.write_bytes(b"\x89HDF")
    monkeypatch.setenv("TLKIT_WEIGHTS_SOURCES", str(tmp_path))
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    return path


def test_list_shows_every_row_and_what_is_here(local):
    result = CliRunner().invoke(app, ["list", "--json"], catch_exceptions=False)
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert list(rows) == [*image.names(), *text.names()]
    assert rows["resnet50"]["path"] == str(local)
    assert rows["vgg16"]["path"] is None
    assert rows["efficientnet-lite0"]["sources"] == [str(local.parent)]
    plain = CliRunner().invoke(app, ["list"], catch_exceptions=False).stdout
    assert len(plain.splitlines()) == 1 + len(image.names()) + len(text.names())


@pytest.mark.parametrize("command", ["path", "pull"])
def test_path_and_pull_print_the_file(local, command):
    result = CliRunner().invoke(app, [command, "ResNet50", "--json"], catch_exceptions=False)
    assert json.loads(result.stdout) == {"name": "resnet50", "path": str(local), "source": "file:resnet50.h5"}
    result = CliRunner().invoke(app, [command, "resnet50"], catch_exceptions=False)
    assert result.stdout == f"{local}\n"


def test_pull_takes_other_sources(local, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(b"\x89HDF")
    result = CliRunner().invoke(app, ["pull", "resnet50", "--source", str(other)], catch_exceptions=False)
    assert result.stdout == f"{other}\n"


def test_errors_go_up_for_the_command_line_to_show(local):
    with pytest.raises(WeightsError, match="no weights for vgg16; tried"):
        CliRunner().invoke(app, ["path", "vgg16"], catch_exceptions=False)
    with pytest.raises(ModelError, match="did you mean 'resnet50'"):
        CliRunner().invoke(app, ["path", "resnet5"], catch_exceptions=False)
