from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from tlkit.errors import DataError, ProjectError
from tlkit.inputs.text.findings import normalized
from tlkit.samples import registry as samples
from tlkit.samples import reviews as sample_reviews

RATINGS = [-4.0, -0.5, -0.49, 0.0, 0.4999, 0.5, 3.2]


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A small archive in an archive, known by its hash."""
    lines = [f'{number}\t{RATINGS[number % 7]}\tS&amp;M snippet {number} 6" of it' for number in range(700)]
    lines[14] = f'14\t{RATINGS[0]}\tS&amp;M  SNIPPET 0 6" of it'  # a copy of number 0
    content = "\r\n".join(lines).encode()
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as packed:
        member = tarfile.TarInfo(sample_reviews._MEMBER)
        member.size = len(content)
        packed.addfile(member, io.BytesIO(content))
    path = tmp_path / "vaderSentiment-0.5.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(sample_reviews._ARCHIVE, inner.getvalue())
    monkeypatch.setattr(sample_reviews, "_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def read(folder) -> dict[str, list[tuple[str, str]]]:
    parts = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [tuple(row) for row in csv.reader(stream)]
        assert rows[0] == ("text", "label")
        parts[path.stem] = rows[1:]
    return parts


def check(parts, counts):
    assert {name: len(rows) for name, rows in parts.items()} == counts
    seen = [{normalized(text) for text, _ in rows} for rows in parts.values()]
    assert sum(map(len, seen)) == len(set.union(*seen))
    for rows in parts.values():
        assert np.mean([label == "positive" for _, label in rows]) == pytest.approx(0.5, abs=0.02)


def test_reviews_are_written_in_three_parts(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_reviews, "fetch", lambda folder: archive)
    target = samples.get("reviews", tmp_path / "made" / "reviews")
    parts = read(target)
    assert sorted(path.name for path in target.iterdir()) == ["test.csv", "train.csv", "val.csv"]
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["reviews"]
    check(parts, {"test": 40, "train": 320, "val": 40})
    rows = {text: label for part in parts.values() for text, label in part}
    assert rows['S&M snippet 1 6" of it'] == "negative"
    assert rows['S&M snippet 5 6" of it'] == "positive"
    assert {int(text.split()[2]) % 7 for text in rows} == {0, 1, 5, 6}
    again = samples.get("reviews", tmp_path / "again")
    assert read(again) == parts


def test_another_archive_is_refused_and_leaves_nothing(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_reviews, "_SHA256", "0" * 64)
    monkeypatch.setattr(sample_reviews, "fetch", lambda folder: archive)
    with pytest.raises(
        DataError, match="vaderSentiment-0.5.zip is not the expected archive: its sha256 is .*allowed: 000"
    ):
        samples.get("reviews", tmp_path / "made" / "reviews")
    assert list((tmp_path / "made").iterdir()) == []
    (tmp_path / "made" / "note").touch()
    with pytest.raises(ProjectError, match="exists and is not empty"):
        samples.get("reviews", tmp_path / "made")


def pip(answer: str, code: int, file: str | None = None):
    calls = []

    def run(command, **options):
        calls.append((command, options))
        folder = sample_reviews.Path(command[command.index("--dest") + 1])
        requirements = sample_reviews.Path(command[command.index("--requirement") + 1])
        calls.append(requirements.read_text())
        if file:
            (folder / file).write_bytes(b"archive")
        return subprocess.CompletedProcess(command, code, "", answer)

    return calls, run


def test_pip_is_told_the_hash_and_to_leave_dependencies_alone(tmp_path, monkeypatch):
    calls, run = pip("", 0, "vaderSentiment-0.5.zip")
    monkeypatch.setattr(subprocess, "run", run)
    assert sample_reviews.fetch(tmp_path).name == "vaderSentiment-0.5.zip"
    command, options = calls[0]
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--require-hashes", "--no-binary=vaderSentiment", "--no-input"} <= set(command)
    assert calls[1] == f"vaderSentiment==0.5 --hash=sha256:{sample_reviews._SHA256}\n"
    assert not options.get("shell")


@pytest.mark.parametrize(
    ("answer", "code"), [("note\nERROR: No matching distribution", 1), ("ERROR: No matching distribution", 0)]
)
def test_pips_own_reason_is_shown(answer, code, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", pip(answer, code)[1])
    with pytest.raises(DataError, match="pip download vaderSentiment==0.5 failed: ERROR: No matching distribution"):
        sample_reviews.fetch(tmp_path)


def test_a_pip_that_hangs_is_an_error(tmp_path, monkeypatch):
    def run(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DataError, match="pip did not finish within 900 seconds"):
        sample_reviews.fetch(tmp_path)


def test_the_samples_are_listed():
    names = samples.names()
    assert list(names) == ["surfaces", "reviews", "flights", "ratings"]
    assert names["reviews"].startswith("10,072 sentences from film reviews, labelled")


@pytest.mark.real
def test_the_real_reviews(tmp_path):
    parts = read(samples.get("reviews", tmp_path / "reviews"))
    check(parts, {"test": 1007, "train": 8058, "val": 1007})
    texts = [text for rows in parts.values() for text, _ in rows]
    assert len(texts) == 10_072
    assert ("Effective but too tepid biopic", "negative") in [row for rows in parts.values() for row in rows]
    assert not any("&amp;" in text for text in texts)
