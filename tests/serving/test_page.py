"""The page at /: what it says about the models, how it is put together, and what its headers allow."""

import asyncio
import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources

import fastapi
import page_fleet
import pytest

from tlkit.serving.page import add_page, page, served_models

SOURCES = {
    item.name: item.read_text(encoding="utf-8") for item in resources.files("tlkit.serving").joinpath("page").iterdir()
}
FORBIDDEN = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser", "srcdoc",
    "localStorage", "sessionStorage", "indexedDB", "cookie", "sendBeacon", "WebSocket", "EventSource",
)  # fmt: skip


class Outline(HTMLParser):
    """The elements of a document, each with its attributes, and the text of the inline ones."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.inside = [], {}, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        self.texts[self.inside] = self.texts.get(self.inside, "") + data

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


def ask(app, path, method="GET"):
    """Call the app as a server does; gives status, headers and body."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": [],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(part.get("body", b"") for part in sent[1:])


@pytest.fixture
def fleet():
    return page_fleet.FakeFleet()


@pytest.fixture
def app(fleet):
    made = fastapi.FastAPI(openapi_url=None)

    @made.api_route("/{path:path}", methods=["GET", "POST"])
    def everything(path: str):
        raise fastapi.HTTPException(404, "Not found")

    add_page(made, fleet)
    return made


@pytest.fixture(scope="module")
def outline():
    return Outline(page()[0])


def version_of(fleet, name, place=0):
    return next(model for model in served_models(fleet)["models"] if model["name"] == name)["versions"][place]


def directives(policy):
    return {name: values for name, *values in (part.split() for part in policy.split(";"))}


def test_the_page_is_there_before_a_route_for_everything(app):
    status, headers, body = ask(app, "/")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert body.decode() == page()[0]
    assert ask(app, "/v1/models/photos")[0] == 404
    assert ask(app, "/", "HEAD")[0] == 200


def test_without_it_the_server_has_no_page():
    assert ask(fastapi.FastAPI(openapi_url=None), "/")[0] == 404


def test_the_policy_lets_only_the_page_s_own_script_and_style_run(app, outline):
    _, headers, _ = ask(app, "/")
    policy = directives(headers["content-security-policy"])
    for tag in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(outline.texts[tag].encode()).digest()).decode()
        assert policy[f"{tag}-src"] == [f"'sha256-{digest}'"]
    assert (
        policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == policy["form-action"] == ["'none'"]
    )
    assert policy["connect-src"] == ["'self'"]
    assert policy["img-src"] == ["blob:", "data:"]
    assert "unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/ui/models.json"])
def test_no_browser_guesses_types_frames_it_or_tells_where_it_was(app, path):
    _, headers, _ = ask(app, path)
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


def test_it_says_what_it_is_and_where_the_input_goes(outline):
    said = " ".join(" ".join(outline.texts.values()).split())
    assert "tlkit's local server, not TensorFlow Serving" in said
    assert "stores nothing and sends nothing elsewhere" in said


def test_it_needs_nothing_from_elsewhere(outline):
    for attributes in (attributes for _, attributes in outline.elements):
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "data:,") == "data:,"
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert not re.findall(r"https?:|//[a-z0-9-]+\.|@import|url\(", page()[0])


@pytest.mark.parametrize("name", sorted(name for name in SOURCES if name.endswith(".js")))
def test_a_script_neither_makes_markup_of_text_nor_keeps_anything(name):
    assert not [word for word in FORBIDDEN if word in SOURCES[name]]


def test_every_source_is_part_of_the_page():
    html = page()[0]
    assert set(SOURCES) >= {"index.html", "style.css", "main.js"}
    for name, text in SOURCES.items():
        if name != "index.html":
            assert text.strip() in html, name
    assert html.count("</script>") == html.count("</style>") == 1
    assert "{{" not in html


def test_every_control_has_a_label_and_every_name_is_there_once(outline):
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert sorted(ids) == sorted(set(ids))
    labelled = {label["for"] for label in outline.all("label")}
    controls = {control["id"] for control in outline.all("input", "select", "textarea")}
    assert len(controls) >= 7
    assert labelled == controls
    for attributes in (attributes for _, attributes in outline.elements):
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(attributes.get(name, "").split()) <= set(ids)
        assert int(attributes.get("tabindex", "0")) <= 0  # the order of focus is the order of the document


def test_it_fits_phones_readers_and_schemes(outline):
    assert outline.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in outline.all("meta")
    assert {"status", "alert"} <= {a.get("role") for _, a in outline.elements}
    assert [a for a in outline.all("p") if a.get("role") == "status" and a.get("aria-live") == "polite"]
    assert [tag for tag, _ in outline.elements if re.fullmatch("h[1-6]", tag)] == ["h1", "h2", "h2"]
    camera = next(a for a in outline.all("input") if a["id"] == "camera")
    assert camera["capture"] == "environment"
    for feature in ("prefers-color-scheme: dark", "prefers-reduced-motion", "forced-colors", ":focus-visible"):
        assert feature in SOURCES["style.css"]


def test_the_list_is_json_and_never_cached(app):
    status, headers, body = ask(app, "/ui/models.json")
    assert (status, headers["content-type"], headers["cache-control"]) == (200, "application/json", "no-store")
    assert [model["name"] for model in json.loads(body)["models"]] == [
        "damaged", "houses", "photos", "price", "sum/any", "texts",
    ]  # fmt: skip


def test_versions_come_with_their_states(fleet):
    photos = served_models(fleet)["models"][2]["versions"]
    assert [(one["version"], one["state"], one["message"]) for one in photos] == [
        ("4", "LOADING", ""),
        ("3", "AVAILABLE", ""),
        ("2", "AVAILABLE", ""),
        ("1", "END", "no variables"),
    ]
    assert [one["task"] is not None for one in photos] == [False, True, True, False]


def test_a_version_beyond_what_javascript_counts_to_keeps_its_digits(fleet):
    assert version_of(fleet, "texts")["version"] == "9007199254740993"


def test_a_photo_model_says_its_formats_and_classes(fleet):
    task = version_of(fleet, "photos", 1)["task"]
    assert task["content"] == "image"
    assert task["formats"] == ["jpeg", "png"]
    (output,) = task["outputs"]
    assert (output["classes"], output["scores"], output["kind"]) == ("classes", "scores", "single_label")
    assert output["class_count"] == 10
    assert output["class_names"][2] == page_fleet.EVIL


def test_columns_carry_what_the_form_needs(fleet):
    columns = {column["argument"]: column for column in version_of(fleet, "houses")["task"]["columns"]}
    assert list(columns) == ["colour", "rooms", "area__m__", "garden", "built", "seen", "note"]
    assert [columns[name]["absent"] for name in ("colour", "rooms", "area__m__")] == [
        '""', "-9223372036854775808", "NaN",
    ]  # fmt: skip
    assert columns["rooms"]["values"] == ["1", "2"]
    assert columns["area__m__"]["median"] == 57.92, "the fewest digits that stand for the float32"
    assert columns["area__m__"]["name"] == "area (m²)"
    assert columns["built"]["years"] == [2012, 2014]
    assert [columns[name]["time"] for name in ("built", "seen")] == [False, True]
    assert columns["note"]["values"] == []


def test_several_targets_keep_their_order_and_names(fleet):
    outputs = version_of(fleet, "houses")["task"]["outputs"]
    assert [(one["target"], one["kind"]) for one in outputs] == [
        ("price <i>€</i>", "regression"), ("sold", "single_label"), ("tags", "multi_label"),
    ]  # fmt: skip
    assert [one["value"] or one["classes"] for one in outputs] == ["price", "sold_classes", "tags_classes"]


def test_long_lists_are_cut_and_counted(fleet):
    values = [f"shop {number}" for number in range(1500)]
    fleet.manifests["texts", page_fleet.LARGE] = page_fleet.manifest("text", values)
    fleet.manifests["price", 1] = page_fleet.manifest(
        "row",
        ["no", "yes"],
        preprocessing={"columns": [{"argument": "shop", "values": values}]},
        columns=[page_fleet.column("shop", "string", "categorical")],
    )
    (output,) = version_of(fleet, "texts")["task"]["outputs"]
    assert (len(output["class_names"]), output["class_count"]) == (100, 1500)
    (column,) = version_of(fleet, "price")["task"]["columns"]
    assert (len(column["values"]), column["value_count"]) == (1000, 1500)


def test_golden_examples_stay_on_the_server(app):
    body = ask(app, "/ui/models.json")[2].decode()
    assert "c2VjcmV0" not in body
    assert "golden" not in body


def test_a_manifest_of_the_first_schema_is_about_photos(fleet):
    old = {key: value for key, value in page_fleet.PHOTOS.items() if key not in ("interface", "objective")}
    fleet.manifests["photos", 3] = {**old, "schema_version": 1}
    task = version_of(fleet, "photos", 1)["task"]
    assert (task["content"], task["outputs"][0]["class_count"]) == ("image", 10)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"interface": {"content": "text"}}, "input: Field required"),
        ({"interface": {**page_fleet.TEXTS["interface"], "content": "sound"}}, "'sound' is none of image, text, row"),
        ({"interface": None}, "Input should be a valid dictionary"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_named_and_raw_json_offered(fleet, change, reason):
    fleet.manifests["damaged", 1] = {**page_fleet.TEXTS, **change}
    found = version_of(fleet, "damaged")
    assert reason in found["problem"]
    assert found["task"] is None
    assert "serving_default" in found["signatures"]


@pytest.mark.parametrize(
    "preprocessing", [None, [], {"columns": 7}, {"columns": [None, {"argument": "colour", "values": 3}]}]
)
def test_hints_may_be_lacking(fleet, preprocessing):
    fleet.manifests["houses", 1] = {**page_fleet.HOUSES, "preprocessing": preprocessing}
    columns = version_of(fleet, "houses")["task"]["columns"]
    assert len(columns) == 7
    assert not any(column["values"] or column["years"] or column["median"] for column in columns)


def test_a_median_that_json_cannot_hold_is_left_out(app, fleet):
    hints = {"columns": [{"argument": "area__m__", "median": float("nan")}]}
    fleet.manifests["houses", 1] = {**page_fleet.HOUSES, "preprocessing": hints}
    assert ask(app, "/ui/models.json")[0] == 200


def test_a_model_without_a_manifest_says_its_signatures(fleet):
    found = version_of(fleet, "sum/any")
    assert (found["task"], found["problem"]) == (None, "")
    assert list(found["signatures"]) == ["big", "serving_default", "whole"]
    assert found["signatures"]["serving_default"] == {
        "inputs": {"x": {"dtype": "DT_FLOAT", "shape": ["-1", "2"]}, "name": {"dtype": "DT_STRING", "shape": ["-1"]}},
        "outputs": {"y": {"dtype": "DT_INT64", "shape": ["-1"]}},
    }
    assert found["signatures"]["whole"]["inputs"]["n"]["shape"] is None


def test_a_model_that_went_away_in_between_is_a_sentence_not_an_error(app, fleet):
    fleet.gone = True
    assert ask(app, "/ui/models.json")[0] == 200
    for model in served_models(fleet)["models"]:
        for one in model["versions"]:
            assert one["problem"] == ("the worker process is being restarted" if one["state"] == "AVAILABLE" else "")
            assert (one["task"], one["signatures"]) == (None, None)


def test_no_model_at_all_is_an_empty_list(fleet):
    fleet.served = {}
    assert served_models(fleet) == {"models": []}


def test_it_loads_neither_tensorflow_nor_keras_nor_pandas():
    code = "import sys, tlkit.serving.page; print({'tensorflow', 'keras', 'pandas'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
