"""`tlkit predict --server` and `tlkit verify --server`: what comes out is what the export itself would give."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
from pathlib import Path

import pytest
import tiny
import tiny_table
from certificates import self_signed
from exports import copy_of
from fake_serving import FakeGrpc, FakeRest, Model, RefusedError, Signature, export_model

from tlkit.cli.main import run
from tlkit.config import load_config
from tlkit.export.manifest import Manifest
from tlkit.inputs.image.hostile import png_bomb
from tlkit.scaffold.new import new_project
from tlkit.serving.canary import CHECKS

SERVERS = {"rest": FakeRest, "grpc": FakeGrpc}
TEXTS = ["A good film, and a very long text about it indeed.", "bad", 'żółw 🐢 "quoted", and\nbroken']


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project of each kind with an export, as if it had been trained; the checks of exports have their own tests."""
    folder = tmp_path_factory.mktemp("projects")
    frame = tiny_table.tiny_frame(6)
    frame.to_csv(folder / "houses.csv", index=False)
    (folder / "reviews.csv").write_text("text,label\nfine,good\ndull,bad\n", encoding="utf-8")
    (folder / "photos").mkdir()
    for number, photo in enumerate(tiny.photos(5)):
        (folder / "photos" / f"{number}.jpg").write_bytes(photo)
    made = {
        "image": ("image-classification", {"data_path": "../photos", "weights": "none"}, "photos"),
        "text": ("text-sentiment", {"data_path": "../reviews.csv"}, "texts"),
        "rows": ("tabular-embeddings", {"data_path": "../houses.csv", "target": "price"}, "several"),
    }
    found = {}
    for kind, (template, answers, export) in made.items():
        found[kind] = new_project(template, folder / kind, answers)
        copy_of(export, load_config(found[kind] / "config.toml").export_dir)
    return found


def export_of(project: Path) -> Path:
    return load_config(project / "config.toml").export_dir / "1"


@pytest.fixture(scope="module")
def models(projects: dict[str, Path]) -> dict[str, Model]:
    return {
        kind: export_model(export_of(one), Manifest.read(export_of(one)).model_name) for kind, one in projects.items()
    }


@pytest.fixture
def served(projects, models, monkeypatch, capfd):
    """Stand in a project and serve its export: a function of the kind and the protocol that gives the address."""
    running = []

    def _serve(kind: str, protocol: str = "rest") -> str:
        monkeypatch.chdir(projects[kind])
        running.append(SERVERS[protocol](models[kind]))
        running[-1].__enter__()
        capfd.readouterr()
        return running[-1].url

    yield _serve
    for server in running:
        server.__exit__()


@pytest.fixture
def without_tensorflow(monkeypatch):
    def refuse() -> None:
        raise AssertionError("TensorFlow was loaded")

    monkeypatch.setattr("tlkit.cli.output.import_tensorflow", refuse)


def printed(words: list[str], capfd, code: int = 0) -> str:
    assert run(words) == code, capfd.readouterr().err
    return capfd.readouterr().out


@pytest.mark.parametrize(
    ("kind", "protocol", "inputs", "options"),
    [
        ("image", "rest", ["../photos", "../photos/2.jpg"], ["--json"]),
        ("image", "grpc", ["../photos", "../photos/2.jpg"], []),
        ("text", "rest", TEXTS, []),
        ("text", "grpc", TEXTS, ["--json"]),
        ("text", "rest", TEXTS, ["--json", "--top", "1"]),
    ],
)
def test_photos_and_texts_are_answered_alike(served, models, capfd, kind, protocol, inputs, options):
    url = served(kind, protocol)
    words = ["predict", *inputs, *options]
    alone = printed(words, capfd)
    models[kind].calls.clear()
    assert printed([*words, "--server", url], capfd) == alone
    assert [name for name, _ in models[kind].calls] == ["serving_default"]
    assert alone.count("good" if kind == "text" else "ants") >= len(inputs) or "--top" in options


@pytest.mark.parametrize(("kind", "protocol", "suffix"), [("image", "grpc", ".csv"), ("text", "rest", ".jsonl")])
def test_tables_of_photos_and_texts_are_answered_alike(
    served, models, tmp_path, monkeypatch, capfd, kind, protocol, suffix
):
    url = served(kind, protocol)
    monkeypatch.setattr("tlkit.predicting.engine.MOST", 3)
    config = load_config(Path("config.toml"))
    column = config.data.path_column if kind == "image" else config.data.text_column
    items = [f"{Path.cwd()}/../photos/{number}.jpg" for number in range(5)] if kind == "image" else [*TEXTS, "dull", ""]
    lines = [json.dumps({"id": number, column: item}) for number, item in enumerate(items)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    outs = [tmp_path / f"{name}{suffix}" for name in ("alone", "asked")]
    words = ["predict", "--file", str(tmp_path / "in.jsonl"), "--json", "--out"]
    alone = json.loads(printed([*words, str(outs[0])], capfd))
    models[kind].calls.clear()
    asked = json.loads(printed([*words, str(outs[1]), "--server", url], capfd))
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert asked == {**alone, "out": str(outs[1])}
    assert asked["rows"] == 5
    assert [rows for _, rows in models[kind].calls] == [3, 2]


@pytest.mark.parametrize(
    ("protocol", "suffix"), [("rest", None), ("grpc", ".csv"), ("rest", ".csv"), ("rest", ".parquet")]
)
def test_rows_are_answered_alike(served, models, tmp_path, monkeypatch, capfd, protocol, suffix):
    url = served("rows", protocol)
    monkeypatch.setattr("tlkit.predicting.engine.MOST", 5)
    tiny_table.tiny_frame(12, seed=3, targets=False).to_csv(tmp_path / "rows.csv", index=False)
    words = ["predict", str(tmp_path / "rows.csv")]
    if suffix is None:
        for options in ([], ["--json"]):
            assert printed([*words, *options], capfd) == printed([*words, *options, "--server", url], capfd)
        return
    outs = [tmp_path / f"{name}{suffix}" for name in ("alone", "asked")]
    printed([*words, "--out", str(outs[0])], capfd)
    models["rows"].calls.clear()
    printed([*words, "--out", str(outs[1]), "--server", url], capfd)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert models["rows"].calls == [("predictions", 5), ("predictions", 5), ("predictions", 2)]


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_clients_own_records_are_those_of_the_predictor(served, projects, protocol):
    import datetime

    from tlkit.export.predictor import SavedModelPredictor
    from tlkit.serving.client import ServingClient

    url = served("rows", protocol)
    export = export_of(projects["rows"])
    rows = [
        {"colour": "red", "rooms": 3, "area (m²)": 80, "garden": True, "built": datetime.date(2013, 3, 31), "x": 1},
        {"colour": None, "rooms": None, "area (m²)": float("nan"), "distance": 1e300},
        {"built": datetime.datetime(2012, 1, 2, 3, 4), "garden": "false", "distance": 2.5, "rooms": 2.0},
        {},
    ]
    name = Manifest.read(export).model_name
    expected = SavedModelPredictor(export, batch_size=3).predict(rows)
    with ServingClient(url, name, batch_size=3, manifest=export) as client:
        assert repr(client.predict_rows(rows)) == repr(expected)
        assert [list(record["scores"]["sold"]) for record in client.predict_rows(rows, top=1)] == [
            record["scores"]["sold"][:1] for record in expected
        ]
    # Without the manifest the targets are known by the names of the outputs, and all else is the same.
    with ServingClient(url, name, batch_size=3) as client:
        bare = client.predict_rows(rows)
    assert [record["scores"] for record in bare] == [record["scores"] for record in expected]
    names = {"price": "price", "rent in €": "rent_in__"}
    for record, wanted in zip(bare, expected, strict=True):
        assert record["predictions"] == {names[target]: value for target, value in wanted["predictions"].items()}


def test_verify_server_prints_the_table_and_json(served, models, capfd, monkeypatch):
    url = served("image")
    out = printed(["verify", "--server", url], capfd)
    assert "golden_answers" in out
    assert "all 9 checks passed" in " ".join(out.split())
    assert "Not checked:" in out
    document = json.loads(printed(["verify", "--server", url, "--json"], capfd))
    assert document["server"] == url
    assert document["ok"] is True
    assert document["export"].endswith("/1")
    assert all(set(check) == {"name", "ok", "reason", "seconds"} for check in document["checks"])
    kept = {name: one for name, one in models["image"].signatures.items() if name != "embedding"}
    monkeypatch.setattr(models["image"], "signatures", kept)
    document = json.loads(printed(["verify", "--server", url, "--json"], capfd, code=1))
    assert document["ok"] is False
    assert {check["name"] for check in document["checks"] if not check["ok"]} == {"signatures", "golden_embedding"}


def test_what_could_not_be_checked_is_not_called_failed(served, models, capfd, monkeypatch):
    url = served("image")
    monkeypatch.setattr(models["image"], "version", 7)
    monkeypatch.setattr(models["image"], "states", {7: "AVAILABLE"})
    lines = printed(["verify", "--server", url], capfd, code=1).splitlines()
    marks = {line.split()[0]: line.split()[1] for line in lines[1:] if line.split()[1:2] in (["ok"], ["FAILED"], ["-"])}
    assert marks == {"ready": "ok", "version": "FAILED"} | dict.fromkeys([*CHECKS][2:], "-")
    (told,) = [line for line in lines if "checks failed" in line]
    assert told.startswith(f"1 of 9 checks failed, 7 could not be run, on {url}, compared with ")


def test_verify_waits_as_long_as_it_is_told(projects, capfd, monkeypatch):
    import tlkit.serving.canary

    waited = []
    monkeypatch.setattr(tlkit.serving.canary, "verify_server", lambda *_, **options: waited.append(options) or [])
    monkeypatch.chdir(projects["text"])
    for words in ([], ["--wait", "90"]):
        printed(["verify", "--server", "http://127.0.0.1:1", *words], capfd)
    assert waited == [{"name": None, "ca_file": None}, {"name": None, "ca_file": None, "wait": 90.0}]


def behind_tls(protocol: str, model: Model, certificate: Path, key: Path) -> FakeRest | FakeGrpc:
    if protocol == "grpc":
        import grpc

        server = FakeGrpc(model)
        identity = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        server.url = f"grpcs://127.0.0.1:{server._server.add_secure_port('127.0.0.1:0', identity)}"
        return server
    server = FakeRest(model)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.url = server.url.replace("http:", "https:")
    return server


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_server_with_its_own_certificate_is_asked_with_its_authority(
    projects, models, tmp_path, monkeypatch, capfd, protocol
):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    self_signed(certificate, key)
    monkeypatch.chdir(projects["text"])
    with behind_tls(protocol, models["text"], certificate, key) as server:
        capfd.readouterr()
        words = ["predict", "good", "--json", "--server", server.url, "--ca-file", str(certificate)]
        answers = json.loads(printed(words, capfd))
        assert [one["input"] for one in answers] == ["good"]
        words = ["verify", "--json", "--server", server.url, "--ca-file", str(certificate)]
        assert json.loads(printed(words, capfd))["ok"]
        monkeypatch.chdir(projects["text"].parent)
        words = ["predict", "good", "--json", "--server", server.url, "--ca-file", str(certificate)]
        assert json.loads(printed([*words, "--name", models["text"].name], capfd)) == answers


def test_rows_are_not_sent_to_another_model(served, models, projects, tmp_path, capfd, monkeypatch):
    url = served("rows")
    (tmp_path / "out").mkdir()
    tiny_table.tiny_frame(3, seed=3, targets=False).to_csv(tmp_path / "rows.csv", index=False)
    words = ["predict", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "out" / "o.csv"), "--server", url]
    monkeypatch.setattr(models["rows"], "signatures", models["image"].signatures)
    assert "has other input columns than the local export" in printed_error(words, capfd, 1)
    assert not [*(tmp_path / "out").iterdir()]


def test_the_model_may_have_another_name_on_the_server(served, models, capfd, monkeypatch):
    url = served("text")
    monkeypatch.setattr(models["text"], "name", "else where")
    assert "Latest(" in printed_error(["predict", "good", "--server", url], capfd, 1)
    assert json.loads(printed(["predict", "good", "--server", url, "--name", "else where", "--json"], capfd))
    assert json.loads(printed(["verify", "--server", url, "--name", "else where", "--json"], capfd))["ok"]


def printed_error(words: list[str], capfd, code: int) -> str:
    assert run(words) == code
    return capfd.readouterr().err


def test_a_bad_photo_is_told_as_without_a_server(served, tmp_path, capfd):
    url = served("image")
    (tmp_path / "bad.jpg").write_bytes(b"junk")
    (tmp_path / "cut.jpg").write_bytes(tiny.photos(1)[0][:300])
    files = [str(tmp_path / name) for name in ("bad.jpg", "cut.jpg")]
    words = ["predict", "../photos/1.jpg", *files]
    alone = printed_error(words, capfd, 1)
    assert printed_error([*words, "--server", url], capfd, 1) == alone
    assert f"failed: {files[0]} is not an image but text" in alone
    assert f"failed: {files[1]} is truncated or corrupt (JPEG): the file ends before the image does" in alone
    for name in files:
        one = printed_error(["predict", name], capfd, 2)
        assert printed_error(["predict", name, "--server", url], capfd, 2) == one
        assert one.startswith(f"error: {name} is ")
    strict = printed_error([*words, "--strict"], capfd, 2)
    assert printed_error([*words, "--strict", "--server", url], capfd, 2) == strict
    assert strict == f"error: {files[0]} is not an image but text (known formats: JPEG, PNG, GIF, BMP, WebP)\n"


@pytest.mark.parametrize("protocol", [None, "rest", "grpc"])
def test_a_folder_is_answered_around_what_cannot_be_used(served, tmp_path, capfd, protocol):
    url = served("image", protocol or "rest")
    good = tiny.photos(36)
    for number, content in enumerate(good):
        (tmp_path / f"{number:02}").write_bytes(content)
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(good[1][:100])
    (tmp_path / "scan.tif").write_bytes(b"II*\0" + bytes(99))
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "._00.jpg").write_bytes(good[0])
    (tmp_path / "notes.txt").write_text("notes")
    words = ["predict", str(tmp_path), *([] if protocol is None else ["--server", url])]
    assert run([*words, "--json"]) == 1
    told = capfd.readouterr()
    answer = json.loads(told.out)
    assert [Path(one["input"]).name for one in answer["predictions"]] == [f"{number:02}" for number in range(36)]
    reasons = {Path(one["input"]).name: one["reason"] for one in answer["failed"]}
    assert reasons == {
        "empty.jpg": "is empty (0 bytes)",
        "cut.png": "is truncated or corrupt (PNG): the file ends before the image does",
        "gone.jpg": "is a broken link",
        "scan.tif": "is TIFF, which the exported model cannot decode; convert it first, for example with "
        "`magick scan.tif scan.jpg`",
    }
    assert answer["found"] == 42
    assert answer["left_out"] == {"files that are no images": 1, "hidden files": 1}
    assert answer["used"] == answer["answered"] + len(reasons) == 40
    assert told.err.count("failed: ") == 4
    assert "found 42 entries: 40 used; left out: 1 files that are no images" in told.err
    assert run(words) == 1
    assert capfd.readouterr().out.count("\n") == 36


def test_damaged_photos_are_answered_and_named(served, tmp_path, capfd):
    served("image")
    whole = tiny.photos(1)[0]
    (tmp_path / "grey.jpg").write_bytes(whole[:-100] + b"\xff\xd9")
    (tmp_path / "whole.jpg").write_bytes(whole)
    assert run(["predict", str(tmp_path), "--json"]) == 0
    told = capfd.readouterr()
    predictions = json.loads(told.out)["predictions"]
    assert [one.get("damaged") for one in predictions] == ["premature end of data segment", None]
    assert f"warning: {tmp_path / 'grey.jpg'} can be decoded but is damaged (premature end of data segment)" in told.err
    assert "Corrupt JPEG" not in told.err


def test_an_export_with_another_limit_of_pixels_names_it(served, tmp_path, capfd, monkeypatch):
    served("image")
    from tlkit.export.predictor import SavedModelPredictor

    (tmp_path / "large.png").write_bytes(png_bomb(7000))
    (tmp_path / "also.png").write_bytes(png_bomb(8000))
    told = printed_error(["predict", str(tmp_path)], capfd, 1)
    assert f"failed: {tmp_path / 'large.png'} has 49,000,000 pixels (7000 x 7000); allowed: 40,000,000; " in told
    assert "has 64,000,000 pixels" in told
    assert SavedModelPredictor(export_of(Path.cwd())).manifest.preprocessing["max_pixels"] == 40_000_000


def refusing(signature: Signature, is_bad) -> Signature:
    """Refuse requests in which something is bad, as a server does that cannot say which row it was."""

    def function(arrays):
        if is_bad(arrays):
            raise RefusedError("INVALID_ARGUMENT", "the graph says: column 'built' holds no date")
        return signature.function(arrays)

    return Signature(signature.inputs, signature.outputs, function, signature.method)


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_rows_that_a_server_refuses_are_listed_with_its_reason(served, models, tmp_path, monkeypatch, capfd, protocol):
    url = served("rows", protocol)
    real = models["rows"].signatures["predictions"]
    other = refusing(real, lambda arrays: b"1066-10-14" in arrays["built"].tolist())
    monkeypatch.setattr(models["rows"], "signatures", {**models["rows"].signatures, "predictions": other})
    frame = tiny_table.tiny_frame(12, seed=3, targets=False)
    frame.loc[[4, 9], "built"] = "1066-10-14"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    words = ["predict", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "out.csv"), "--server", url]
    told = printed_error(words, capfd, 1)
    assert "2 of 12 rows failed:" in told
    assert told.count("the graph says: column 'built' holds no date") == 2
    lines = (tmp_path / "out.errors.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["number", "5", "10"]
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 11
    assert "the graph says" in printed_error([*words, "--strict", "--force"], capfd, 1)


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_texts_that_a_server_refuses_are_listed_with_its_reason(served, models, monkeypatch, capfd, protocol):
    url = served("text", protocol)
    real = models["text"].signatures["serving_default"]
    (name,) = real.inputs
    other = refusing(real, lambda arrays: b"bad" in arrays[name].tolist())
    monkeypatch.setattr(models["text"], "signatures", {**models["text"].signatures, "serving_default": other})
    assert run(["predict", *TEXTS, "--json", "--server", url]) == 1
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert [answer["input"] for answer in document["predictions"]] == [TEXTS[0], TEXTS[2]]
    assert [one["input"] for one in document["failed"]] == ["text number 2"]
    assert "the graph says: column 'built' holds no date" in document["failed"][0]["reason"]
    assert "text number 2: " in captured.err


def test_photos_and_texts_need_no_tensorflow(served, capfd, without_tensorflow):
    url = served("image")
    assert "0.jpg" in printed(["predict", "../photos/0.jpg", "--server", url], capfd)
    assert "checks passed" in printed(["verify", "--server", url], capfd)


def test_a_server_of_other_classes_is_refused(served, models, capfd, monkeypatch):
    url = served("image")
    real = models["image"].signatures["serving_default"]

    def renamed(arrays):
        found = real.function(arrays)
        found["classes"][found["classes"] == b"ants"] = b"wasps"
        return found

    other = Signature(real.inputs, real.outputs, renamed)
    monkeypatch.setattr(models["image"], "signatures", {**models["image"].signatures, "serving_default": other})
    assert "has other classes than the local model" in printed_error(
        ["predict", "../photos/0.jpg", "--server", url], capfd, 1
    )
    values = Signature(
        real.inputs, {"y": ("float32", (None, 3))}, lambda arrays: {"y": real.function(arrays)["scores"]}
    )
    monkeypatch.setattr(models["image"], "signatures", {"serving_default": values})
    assert "do not match the manifest" in printed_error(["predict", "../photos/0.jpg", "--server", url], capfd, 1)


def test_without_an_export_the_server_says_the_classes(served, projects, tmp_path, capfd, monkeypatch):
    url = served("text")
    expected = printed(["predict", *TEXTS, "--json"], capfd)
    bare = tmp_path / "bare"
    shutil.copytree(projects["text"], bare, ignore=shutil.ignore_patterns("saved_models"))
    name = Manifest.read(export_of(projects["text"])).model_name
    monkeypatch.chdir(bare)
    assert printed(["predict", *TEXTS, "--json", "--server", url, "--name", name], capfd) == expected


@pytest.mark.parametrize(
    ("kind", "protocol", "inputs"), [("image", "grpc", ["photos", "photos/2.jpg"]), ("text", "rest", TEXTS)]
)
def test_photos_and_texts_need_no_project(
    served, models, projects, capfd, monkeypatch, without_tensorflow, kind, protocol, inputs
):
    url = served(kind, protocol)
    words = ["--json", "--server", url, "--name", models[kind].name]
    expected = json.loads(
        printed(["predict", *(f"../{one}" if kind == "image" else one for one in inputs), *words], capfd)
    )
    monkeypatch.chdir(projects[kind].parent)
    answers = json.loads(printed(["predict", *inputs, *words], capfd))
    if kind == "image":  # a folder is named
        assert answers["failed"] == expected["failed"] == []
        answers, expected = answers["predictions"], expected["predictions"]
    assert [answer.pop("input") for answer in answers] == [one["input"].removeprefix("../") for one in expected]
    assert answers == [{name: one[name] for name in ("classes", "scores")} for one in expected]


def test_outside_of_a_project_it_says_what_is_lacking(served, models, tmp_path, capfd, monkeypatch, without_tensorflow):
    url = served("rows")
    monkeypatch.chdir(tmp_path)
    asked = ["predict", "rows.csv", "--server", url]
    assert "the model's name is missing, and there is no project here to read it from" in printed_error(asked, capfd, 2)
    asked += ["--name", models["rows"].name]
    assert "does not take single photos or texts" in printed_error(asked, capfd, 2)
    assert "no tlkit project" in printed_error(["predict", "a text"], capfd, 2)
    assert "--file needs a project, whose config.toml describes the table" in printed_error(
        ["predict", "--file", "a.csv", "--out", "b.csv", "--server", url], capfd, 2
    )
    monkeypatch.setattr(models["rows"], "signatures", {"other": models["rows"].signatures["serving_default"]})
    assert "does not take single photos or texts" in printed_error(asked, capfd, 2)


def test_rows_need_the_export(served, projects, tmp_path, capfd, monkeypatch, without_tensorflow):
    url = served("rows")
    bare = tmp_path / "bare"
    shutil.copytree(projects["rows"], bare, ignore=shutil.ignore_patterns("saved_models"))
    monkeypatch.chdir(bare)
    words = ["predict", str(projects["rows"].parent / "houses.csv"), "--server", url]
    assert "--server needs an export, which lists the columns" in printed_error(words, capfd, 2)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["predict", "a text", "--name", "x"], 2, "--name needs --server"),
        (["predict", "a text", "--trust", "--server", "http://127.0.0.1:1"], 2, "--trust needs an export"),
        (["verify", "--name", "x"], 2, "--name needs --server"),
        (
            ["predict", "a text", "--server", "127.0.0.1:8501"],
            2,
            "its protocol; received: '127.0.0.1:8501'; http://127",
        ),
        (["verify", "--server", "127.0.0.1:8501"], 2, "a server's address must start with its protocol"),
        (["verify", "--wait", "3"], 2, "--wait needs --server"),
        (["predict", "a text", "--ca-file", "x.pem"], 2, "--ca-file needs --server; add --server URL"),
        (["verify", "--ca-file", "x.pem"], 2, "--ca-file needs --server; add --server URL"),
        (
            ["predict", "a text", "--server", "https://127.0.0.1:1", "--ca-file", "x.pem"],
            2,
            "--ca-file is not a file; received: 'x.pem'",
        ),
        (
            ["verify", "--server", "https://127.0.0.1:1", "--ca-file", "x.pem"],
            2,
            "--ca-file is not a file; received: 'x.pem'",
        ),
        (
            ["verify", "--server", "http://127.0.0.1:1", "--ca-file", "config.toml"],
            2,
            "certificates need https:// or grpcs://",
        ),
        (["verify", "--server", "http://127.0.0.1:8501", "nowhere"], 2, "there is no export at nowhere"),
        (["predict", "--server", "http://127.0.0.1:8501"], 2, "there is nothing to predict"),
    ],
)
def test_wrong_usage(projects, monkeypatch, capfd, words, code, message):
    monkeypatch.chdir(projects["text"])
    capfd.readouterr()
    error = printed_error(words, capfd, code)
    assert message in error
    assert error.count("\n") == 1


def test_a_server_that_is_down_is_one_line_and_exit_code_1(projects, monkeypatch, capfd):
    monkeypatch.chdir(projects["text"])
    monkeypatch.setattr("tlkit.serving.transport._sleep", lambda seconds: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        error = printed_error(["predict", "a text", "--server", url], capfd, 1)
    assert f"{url} does not respond" in error
    assert len(error.strip().splitlines()) == 1
