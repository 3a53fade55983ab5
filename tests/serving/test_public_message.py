"""What clients read of a message does not show the server's file system."""

from pathlib import Path

import pytest

from tlkit.serving.public_message import public_message

BASE = Path("/srv/my models/photos")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("there is no saved_model.pb in /srv/my models/photos/3", "there is no saved_model.pb in 3"),
        ("there is no version 7 in /srv/my models/photos", "there is no version 7 in the base path"),
        (
            "/srv/my models/photos/2 is a link to a path outside of the base path /srv/my "
            "models/photos; it is not followed",
            "2 is a link to a path outside of the base path; it is not followed",
        ),
        ("/srv/my models/photos/3 has an asset '/etc/passwd'", "3 has an asset 'passwd'"),
        (
            "NOT_FOUND: /srv/my models/photos/3/variables/variables.index; No such",
            "NOT_FOUND: 3/variables/variables.index; No such",
        ),
        (
            "F0000 /usr/lib/python3/tensorflow/core/tensor.cc:73] Check failed: 1 == 2 (1/2)",
            "F0000 tensor.cc:73] Check failed: 1 == 2 (1/2)",
        ),
        ("core/tensor.cc:73] see https://example.org/a/b", "core/tensor.cc:73] see https://example.org/a/b"),
    ],
)
def test_paths_are_relative_to_the_base_path(message: str, shown: str):
    assert public_message(message, BASE) == shown


def test_a_link_and_a_relative_base_path_are_known_by_every_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "m").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    for place in ("m", tmp_path / "m", tmp_path / "real"):
        assert (
            public_message(f"cannot read {place}/3/x from {place}", Path("m")) == "cannot read 3/x from the base path"
        )
    assert public_message("from/3 and m-x/3", Path("m")) == "from/3 and m-x/3"
