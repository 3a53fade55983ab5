"""The page in headless Chromium: what it sends, what it shows, and that it runs nothing that it was told to show.

Needs chromium, chromedriver and selenium (an extra of nobody but these tests), hence the marker; without them every
test is skipped with the name of what is missing (`make test-real` shows the reasons).
"""

import base64
import importlib.util
import io
import json
import math
import re
import shutil
import socket
import subprocess
import threading
import time

import fastapi
import page_fleet
import pytest
import uvicorn

from tlkit.serving.page import add_page

pytestmark = pytest.mark.real
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


FIELDS = "#row-fields input, #row-fields select, #row-fields textarea"


class Canned:
    """The page's server with answers that are written down; keeps every request's path and body."""

    def __init__(self):
        self.fleet = page_fleet.FakeFleet()
        self.requests, self.paths, self.fail, self.answers, self.hold = [], [], None, {}, threading.Event()
        self.reset()
        app = fastapi.FastAPI(openapi_url=None)

        @app.middleware("http")
        async def note(request, call_next):
            self.paths.append(request.scope["raw_path"].decode())
            return await call_next(request)

        @app.post("/v1/models/{name:path}/versions/{version}:predict")
        async def predict(name: str, version: str, request: fastapi.Request):
            self.requests.append((name, version, (await request.body()).decode()))
            await fastapi.concurrency.run_in_threadpool(self.hold.wait, 20)
            if self.fail:
                status, content = self.fail
                return fastapi.Response(content, status, media_type="application/json")
            answer = self.answers.get(name, '{"predictions": [[1.5, 9007199254740993]]}')
            return fastapi.Response(answer, media_type="application/json")

        add_page(app, self.fleet)
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        self.thread = threading.Thread(target=self.server.run, args=([listening],), daemon=True)
        self.thread.start()

    def reset(self):
        self.requests.clear()
        self.paths.clear()
        self.fleet.__init__()
        self.fail = None
        self.answers = {name: json.dumps(answer) for name, answer in page_fleet.ANSWERS.items()}
        self.hold.set()


@pytest.fixture(scope="module")
def server():
    canned = Canned()
    yield canned
    canned.server.should_exit = True
    canned.thread.join(10)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    found = {"selenium": importlib.util.find_spec("selenium"), "chromium": program, "chromedriver": driver}
    missing = [name for name, place in found.items() if not place]
    if missing:
        pytest.skip(
            f"the page was not tried in a browser: {', '.join(missing)} missing (chromium and chromedriver on PATH, "
            "Debian: apt-get install chromium chromium-driver; selenium comes with the extra dev)"
        )
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def shown(chromium, server):
    """A fresh page; afterwards the browser must have had nothing to complain about, and nothing may have run."""
    server.reset()
    chromium.set_window_size(1280, 900)
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.get_log("browser")
    view = View(chromium, server)
    view.open()
    yield view
    server.hold.set()
    assert chromium.title == "Try a model · tlkit"
    answered = re.compile(r"status of (4|5)\d\d")  # the browser notes the errors that a test asked for
    assert [entry for entry in chromium.get_log("browser") if not answered.search(entry["message"])] == []
    assert set(server.paths) <= {"/", "/ui/models.json"} | {path for path in server.paths if path.startswith("/v1/")}


class View:
    """The page as a user meets it."""

    def __init__(self, browser, server):
        self.browser, self.server = browser, server

    def open(self):
        self.browser.get(self.server.url)
        self.wait("document.querySelectorAll('#model option').length")

    def js(self, code, *arguments):
        return self.browser.execute_script(code, *arguments)

    def wait(self, condition):
        """Wait for a condition of JavaScript; only a page that never gets there takes the whole time."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if value := self.js(f"return {condition}"):
                return value
            time.sleep(0.02)
        raise AssertionError(f"never true: {condition}; the page says: {self.all('body')[0].text[-2000:]}")

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def one(self, selector):
        (found,) = self.all(selector)
        return found

    def choose(self, model, version=None):
        for place, value in (("#model", model), ("#version", version)):
            if value is not None:
                self.one(f'{place} option[value="{value}"]').click()

    def type(self, selector, *keys):
        self.one(selector).send_keys(*keys)

    def answers(self, count=1):
        """Wait until so many cards are answered; give them, newest first."""
        self.wait(f"document.querySelectorAll('.card .body:not([aria-busy])').length === {count}")
        return self.all(".card")

    def sent(self, place=-1):
        return self.server.requests[place][2]


def photo(path, width=40, height=20, **options):
    from PIL import Image

    content = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(content, "JPEG", **options)
    path.write_bytes(content.getvalue())
    return path


def copied(shown):
    """Copy the newest card's command with its button; gives what the clipboard holds."""
    grant = {"origin": shown.server.url, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    shown.browser.execute_cdp_cmd("Browser.grantPermissions", grant)
    shown.all(".card summary")[-1].click()
    shown.all(".card details button")[-1].click()
    shown.wait("document.getElementById('said').textContent === 'Copied.'")
    return shown.browser.execute_async_script("navigator.clipboard.readText().then(arguments[0], arguments[0])")


def keys():
    from selenium.webdriver.common.keys import Keys

    return Keys


def test_photos_are_sent_one_after_another_byte_for_byte(shown, tmp_path):
    from PIL import Image

    turned = Image.Exif()
    turned[0x0112] = 6
    first = photo(tmp_path / "first.jpg", exif=turned)
    second = photo(tmp_path / "it's <b>second.jpg", 30, 30)
    shown.choose("photos")
    shown.server.hold.clear()
    shown.type("#files", f"{first}\n{second}")
    shown.wait("document.querySelectorAll('.card').length === 2")
    shown.wait("document.querySelector('.state').textContent === 'sending'")
    assert len(shown.server.requests) <= 1
    assert [state.text for state in shown.all(".state")] == ["sending", "waiting"]
    shown.server.hold.set()
    cards = shown.answers(2)
    assert [(name, version) for name, version, _ in shown.server.requests] == [("photos", "3"), ("photos", "3")]
    for path, (_, _, body) in zip((first, second), shown.server.requests, strict=True):
        assert base64.b64decode(json.loads(body)["instances"][0]["b64"], validate=True) == path.read_bytes()
    assert [card.find_element("css selector", "h3").text for card in cards] == ["first.jpg", "it's <b>second.jpg"]
    sizes = shown.js(
        "return [...document.querySelectorAll('.picture img')].map(i => [i.naturalWidth, i.naturalHeight])"
    )
    assert sizes == [[20, 40], [30, 30]]  # the preview stands as the model sees it


def test_classes_are_bars_with_names_and_percentages(shown, tmp_path):
    shown.choose("photos")
    shown.type("#files", str(photo(tmp_path / "a.jpg")))
    shown.answers()
    assert [li.text.split("\n") for li in shown.all(".bars li")] == [
        [page_fleet.EVIL, "73.1%"], ["ant", "21.0%"], ["bee", "5.0%"], ["class 0", "0.9%"], ["class 1", "<0.1%"],
    ]  # fmt: skip
    widths = shown.js(
        "return [...document.querySelectorAll('.fill')].map(f => f.offsetWidth / f.parentElement.offsetWidth)"
    )
    assert widths == pytest.approx([0.7312, 0.21, 0.05, 0.0087, 0.0001], abs=0.01)
    assert "0.7312" in shown.all(".card pre")[0].get_attribute("textContent")
    shown.one(".group summary").click()
    shown.wait("document.querySelectorAll('.group details li').length === 5")
    assert [name.text for name in shown.all(".group details .name")] == [f"class {place}" for place in range(2, 7)]
    assert len(shown.all(".best")) == 1
    said = shown.one("#said").get_attribute("textContent")
    assert said == f"a.jpg, photos version 3: {page_fleet.EVIL} 73.1%, ant 21.0%"


def test_nothing_that_it_shows_runs(shown):
    shown.choose("houses")
    shown.server.answers["houses"] = json.dumps(
        {
            "predictions": [
                {
                    "price": page_fleet.EVIL,
                    "sold_classes": [page_fleet.EVIL, "</script><script>document.title='hacked'</script>"],
                    "sold_scores": [page_fleet.EVIL, 0.5],
                    "tags_classes": ["javascript:document.title='hacked'"],
                    "tags_scores": [1],
                }
            ]
        }
    )
    shown.type("#column-6", page_fleet.EVIL, keys().ENTER)
    shown.answers()
    shown.server.fail = (400, json.dumps({"error": page_fleet.EVIL}))
    shown.type("#column-6", keys().ENTER)
    shown.answers(2)
    assert shown.one(".server").text == page_fleet.EVIL
    assert [label.text for label in shown.all("#row-fields label")][-1] == "<b>note</b>"
    assert shown.all("main img, main b, main i, main script") == []
    # If markup ever came in by another way, the policy would still stop it.
    blocked = """
        const done = arguments[arguments.length - 1];
        addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective), {once: true});
        const script = document.createElement('script');
        try {
          script.text = "document.title = 'hacked'";
          document.body.append(script);
        } catch (error) { done(error.name); }
    """
    assert shown.browser.execute_async_script(blocked) in {"TypeError", "require-trusted-types-for", "script-src-elem"}
    shown.browser.get_log("browser")  # it complains about what was just tried, as it should


def test_photos_can_be_dropped_and_pasted(shown):
    shown.choose("photos")
    for kind, holder in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        shown.js(
            """
            const carried = new DataTransfer();
            carried.items.add(new File(['not a photo'], arguments[0] + '.png', {type: 'image/png'}));
            const event = new (arguments[0] === 'drop' ? DragEvent : ClipboardEvent)(
                arguments[0], {[arguments[1]]: carried, bubbles: true, cancelable: true});
            document.body.dispatchEvent(event);
            if (!event.defaultPrevented) throw new Error('the browser would act on it too');
            """,
            kind,
            holder,
        )
    shown.answers(2)
    assert shown.sent(0) == '{"instances": [{"b64": "bm90IGEgcGhvdG8="}]}'
    assert [h3.text for h3 in shown.all("h3")] == ["paste.png", "drop.png"]
    assert shown.all(".picture")[0].text == "no preview"


def test_a_text_is_sent_by_keyboard_as_it_stands(shown):
    shown.choose("texts")
    shown.type("#text", 'Żółw "said"\\\n<b>no</b> \u202e', keys().CONTROL, keys().ENTER)
    shown.answers()
    assert json.loads(shown.sent())["instances"] == ['Żółw "said"\\\n<b>no</b> \u202e']
    assert shown.server.requests[0][:2] == ("texts", "9007199254740993")
    assert [li.text.split("\n") for li in shown.all(".bars li")] == [["good", ">99.9%"], ["bad", "<0.1%"]]
    assert "round trip" in shown.one(".state").text
    shown.type("#text", keys().META, keys().ENTER)
    shown.answers(2)


def test_the_curl_command_sends_the_same_request(shown, tmp_path):
    curl = shutil.which("curl")
    if not curl:
        pytest.skip("curl is not installed")
    shown.choose("texts")
    shown.type("#text", "it's $HOME `date` !! \\ %s\nżółw", keys().CONTROL, keys().ENTER)
    shown.answers()
    shown.choose("photos")
    path = photo(tmp_path / "it's $(a) photo.jpg")
    shown.type("#files", str(path))
    shown.answers(2)
    for command in shown.all(".card details:last-of-type pre"):
        text = command.get_attribute("textContent")
        done = subprocess.run(
            ["bash", "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True
        )
        assert "predictions" in done.stdout
    (_, _, by_text), (_, _, by_photo), (_, _, photo_by_curl), (_, _, text_by_curl) = shown.server.requests
    assert json.loads(text_by_curl) == json.loads(by_text)
    assert json.loads(photo_by_curl) == json.loads(by_photo)


def test_a_command_too_long_to_show_is_copied_whole_and_works(shown):
    shown.choose("texts")
    text = "'\nEND\n" + "it's long; " * 10_000
    shown.js("document.getElementById('text').value = arguments[0]", text)
    shown.one("#panel-text button").click()
    shown.answers()
    assert "more characters; Copy takes them all" in shown.all(".card pre")[-1].get_attribute("textContent")
    done = subprocess.run(["bash"], input=copied(shown), capture_output=True, text=True, timeout=20, check=True)
    assert "predictions" in done.stdout
    by_page, by_curl = (json.loads(body) for _, _, body in shown.server.requests)
    assert by_curl == by_page == {"instances": [text]}


def test_an_empty_row_is_sent_as_missing_values(shown):
    shown.choose("houses")
    shown.one("#panel-row button[type=submit]").click()
    shown.answers()
    assert shown.sent() == (
        '{"instances": [{"colour": "", "rooms": -9223372036854775808, "area__m__": NaN, "garden": "", "built": "", '
        '"seen": "", "note": ""}]}'
    )


def test_a_full_row_keeps_every_digit(shown):
    shown.choose("houses")
    shown.type("#column-0", "żółty")
    shown.type("#column-1", "9007199254740993")
    shown.type("#column-2", "-.5e-3")
    shown.one('#column-3 option[value="true"]').click()
    shown.js("document.getElementById('column-4').value = '2013-02-28'")
    shown.js("document.getElementById('column-5').value = '2014-12-31T23:59'")
    shown.type("#column-6", " two words ", keys().ENTER)
    shown.answers()
    assert shown.sent() == (
        '{"instances": [{"colour": "żółty", "rooms": 9007199254740993, "area__m__": -0.0005, "garden": "true", '
        '"built": "2013-02-28", "seen": "2014-12-31T23:59", "note": " two words "}]}'
    )
    shown.type("#column-1", keys().ARROW_UP)
    assert shown.one("#column-1").get_attribute("value") == "9007199254740993"


def test_line_breaks_of_a_text_are_sent_as_they_are(shown):
    shown.choose("texts")
    shown.type("#text", "two\nlines", keys().CONTROL, keys().ENTER)
    shown.answers()
    assert json.loads(shown.sent())["instances"] == ["two\nlines"]
    assert shown.one(".card h3").text == "two ↵ lines"
    shown.choose("houses")
    shown.type("#column-6", "one", keys().SHIFT, keys().ENTER, keys().NULL, "two")
    shown.type("#column-0", "red")
    shown.js(
        """
        const field = document.getElementById('column-0');
        field.setSelectionRange(1, 3);
        const clipboardData = new DataTransfer();
        clipboardData.setData('text/plain', 'ose\\nblue');
        const event = new ClipboardEvent('paste', {clipboardData, bubbles: true, cancelable: true});
        if (field.dispatchEvent(event)) throw new Error('the browser would paste it on one line');
        """
    )
    shown.type("#column-0", "!", keys().ENTER)
    shown.answers(2)
    row = json.loads(shown.sent().replace("NaN", "null"))["instances"][0]
    assert (row["colour"], row["note"]) == ("rose\nblue!", "one\ntwo")
    assert "colour = rose ↵ blue!, <b>note</b> = one ↵ two" in shown.all(".card .detail")[0].text
    shown.one("#row-empty").click()
    assert {field.get_attribute("value") for field in shown.all(FIELDS)} == {""}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("57.92", "57.92"), ("1234567.9", "1,234,567.9"), ("-0.5", "-0.5"), ("16777217", "16,777,217"), ("0", "0"),
        ("1.25e-12", "1.25e-12"), ("-1234", "-1,234"), ("3e+30", "3e+30"), ("NaN", "NaN"), ("-Infinity", "-Infinity"),
    ],
)  # fmt: skip
def test_a_value_is_shown_with_the_digits_that_came(shown, value, text):
    shown.server.answers["price"] = f'{{"predictions": [{value}]}}'
    shown.choose("price")
    shown.type("#column-0", "80", keys().ENTER)
    shown.answers()
    assert shown.one(".value").text == text


@pytest.mark.parametrize(
    ("field", "typed", "message"),
    [
        ("#column-1", "1.5", "This must be a whole number."),
        ("#column-1", "9223372036854775808", "This does not fit into 64 bits."),
        ("#column-1", "1e", "This is not a number."),
        ("#column-2", "-", "This is not a number."),
        ("#column-4", "12", "This date is incomplete."),
    ],
)
def test_what_a_column_cannot_hold_is_not_sent_as_missing(shown, field, typed, message):
    shown.choose("houses")
    shown.type(field, typed)
    shown.one("#panel-row button[type=submit]").click()
    assert shown.one(f"{field}-error").text.endswith(message)
    assert shown.one(field).get_attribute("aria-invalid") == "true"
    assert shown.js("return document.activeElement.id") == field[1:]
    assert shown.server.requests == []
    assert shown.all(".card") == []


def test_several_targets_are_groups_with_bare_nan_and_infinity(shown):
    assert "NaN" in shown.server.answers["houses"]
    assert "Infinity" in shown.server.answers["houses"]
    shown.choose("houses")
    shown.one("#panel-row button[type=submit]").click()
    shown.answers()
    groups = [group.text.split("\n") for group in shown.all(".group")]
    assert groups == [
        ["price <i>€</i>", "Infinity"],
        ["sold", "yes", "61.0%", "no", "39.0%"],
        ["tags", "quiet", "80.0%", "bright", "NaN", "One probability per class; they need not add up to 100%."],
    ]


def test_one_regression_comes_without_a_name_and_is_shown_with_it(shown):
    shown.choose("price")
    shown.type("#column-0", "80", keys().ENTER)
    shown.answers()
    assert shown.one(".group").text.split("\n") == ["price", "123,456.78"]


def test_a_string_that_looks_like_a_number_stays_one(shown):
    shown.server.answers["texts"] = json.dumps(
        {"predictions": [{"classes": ['"NaN"', "-Infinity\\"], "scores": [math.nan, -math.inf]}]}
    )
    shown.choose("texts")
    shown.type("#text", keys().CONTROL, keys().ENTER)
    shown.answers()
    assert [li.text.split("\n") for li in shown.all(".bars li")] == [['"NaN"', "NaN"], ["-Infinity\\", "-Infinity"]]


@pytest.mark.parametrize(
    ("status", "body", "message", "advice"),
    [
        (400, '{"error": "not a photo"}', "not a photo", "could not use this input"),
        (
            400,
            '{"error": "no [[x]]\\n\\t [[{{function_node f}}{{node a/b}}]]"}',
            "no [[x]]",
            "not use this",
        ),
        (413, '{"error": "too large"}', "too large", "The request is too large. Send a smaller input,"),
        (429, '{"error": "queue full"}', "queue full", "Wait a moment"),
        (503, '{"error": "restarting"}', "restarting", "The model is loading, or the worker process is"),
        (504, '{"error": "late"}', "late", "The request timed out. Try again, or raise the"),
        (500, "Internal <b>Server</b> Error", "Internal <b>Server</b> Error", "See the server's log."),
        (200, "<html>", "The response is not JSON.", "<html>"),
        (200, '{"predictions": []}', "does not have the outputs", "The raw response is below."),
        (
            200,
            '{"predictions": [{"classes": ["a"], "scores": []}]}',
            "Classes and scores do not match. The raw response",
            "The raw response is below.",
        ),
    ],
)
def test_errors_are_readable(shown, status, body, message, advice):
    shown.server.fail = (status, body)
    shown.choose("texts")
    shown.type("#text", "x", keys().CONTROL, keys().ENTER)
    (card,) = shown.answers()
    problem = card.find_element("css selector", ".problem").text
    assert message in problem
    assert "{{" not in problem  # nodes of the graph tell a user nothing
    assert advice in problem
    assert message in shown.one("#said").get_attribute("textContent")
    assert body in [pre.get_attribute("textContent") for pre in card.find_elements("css selector", "pre")]
    shown.server.fail = None
    shown.type("#text", keys().CONTROL, keys().ENTER)
    shown.answers(2)
    assert [li.text.split("\n")[0] for li in shown.all(".bars li")] == ["good", "bad"]


def test_a_list_that_cannot_be_read_is_said_and_read_later(shown):
    models, shown.server.fleet.models = shown.server.fleet.models, None
    shown.one("#choice button").click()
    shown.wait("!document.getElementById('problem').hidden")
    assert "The list of models cannot be read (status 500)" in shown.one("#problem").text
    shown.server.fleet.models = models
    shown.one("#choice button").click()
    shown.wait("document.getElementById('problem').hidden")


def test_a_server_without_a_model_says_so(shown):
    shown.server.fleet.served = {}
    shown.browser.refresh()
    shown.wait("document.getElementById('waiting').textContent.startsWith('No model is served yet')")
    assert [panel.is_displayed() for panel in shown.all(".panel")] == [False] * 4


def test_a_server_that_is_gone_is_said(shown):
    shown.choose("texts")
    shown.browser.execute_cdp_cmd("Network.enable", {})
    shown.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*predict*"]})
    try:
        shown.type("#text", "x", keys().CONTROL, keys().ENTER)
        shown.answers()
    finally:
        shown.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    assert "The server did not respond." in shown.one(".card .problem").text
    shown.browser.get_log("browser")  # that the request was blocked


def test_a_page_opened_before_its_model_is_loaded_waits_and_loads_itself(shown):
    status = page_fleet.Status
    shown.server.fleet.served = {}
    shown.browser.refresh()
    shown.wait("document.getElementById('waiting').textContent.startsWith('No model is served yet')")
    assert "turn" in shown.js("return getComputedStyle(document.getElementById('waiting'), '::before').animationName")
    for state in ("START", "LOADING"):
        shown.server.fleet.served = {"texts": [status(page_fleet.LARGE, state)]}
        shown.wait(f"document.querySelector('#version option')?.textContent.includes('{state.lower()}')")
        assert shown.one("#waiting").text.startswith(
            f"Loading version {page_fleet.LARGE}. The form appears when the version is ready.`"
        )
        assert [panel.is_displayed() for panel in shown.all(".panel")] == [False] * 4
    shown.server.fleet.served = {"texts": [status(page_fleet.LARGE)]}
    shown.wait("!document.getElementById('panel-text').hidden")
    assert shown.one("#said").get_attribute("textContent") == f"texts version {page_fleet.LARGE} is ready."
    shown.type("#text", "x", keys().CONTROL, keys().ENTER)
    shown.answers()


def test_a_restart_of_the_worker_is_waited_for_and_keeps_what_was_typed(shown):
    fleet = shown.server.fleet
    shown.choose("houses")
    shown.type("#column-6", "kept")
    fleet.gone = True
    shown.server.fail = (503, '{"error": "the worker process is being restarted"}')
    shown.type("#column-6", keys().ENTER)
    shown.answers()
    shown.wait("document.getElementById('panel-row').hidden")
    assert shown.one("#waiting").text == "The worker process is being restarted. This page retries."
    fleet.gone, shown.server.fail = False, None
    fleet.served["houses"] = [page_fleet.Status(1, "LOADING")]
    shown.wait("document.getElementById('waiting').textContent.startsWith('Loading version 1.')")
    fleet.served["houses"] = [page_fleet.Status(1)]
    shown.wait("!document.getElementById('panel-row').hidden")
    assert shown.one("#column-6").get_attribute("value") == "kept"
    shown.type("#column-6", keys().ENTER)
    shown.answers(2)


def test_a_new_version_takes_the_place_of_one_that_is_gone_unless_that_was_chosen(shown):
    fleet, status = shown.server.fleet, page_fleet.Status
    shown.choose("texts")
    shown.type("#text", "typed")
    fleet.served["texts"] = [status(page_fleet.LARGE + 1), status(page_fleet.LARGE, "END")]
    fleet.manifests["texts", page_fleet.LARGE + 1] = page_fleet.TEXTS
    shown.server.fail = (404, '{"error": "gone"}')
    shown.type("#text", keys().CONTROL, keys().ENTER)
    shown.wait(f"document.getElementById('version').value === '{page_fleet.LARGE + 1}'")
    assert shown.one("#text").get_attribute("value") == "typed"
    shown.choose("texts", page_fleet.LARGE)
    assert shown.one("#waiting").text == "This version is no longer served."
    shown.one("#choice button").click()
    shown.wait("document.getElementById('said').textContent.includes('up to date')")
    assert shown.one("#version").get_attribute("value") == str(page_fleet.LARGE)


def test_versions_can_be_chosen_and_those_that_are_not_ready_say_why(shown):
    shown.choose("photos")
    assert shown.one("#version").get_attribute("value") == "3"
    assert [option.text for option in shown.all("#version option")] == ["4 (loading)", "3", "2", "1 (end)"]
    shown.choose("photos", "1")
    assert shown.one("#waiting").text == "Version 1 could not be loaded: no variables"
    assert not shown.one("#panel-image").is_displayed()
    shown.server.fleet.served["photos"][0] = page_fleet.Status(4)
    shown.server.fleet.manifests["photos", 4] = page_fleet.TEXTS
    shown.one("#choice button").click()
    shown.wait("document.querySelector('#version option').textContent === '4'")
    assert shown.one("#version").get_attribute("value") == "1"  # a refresh changes no choice
    shown.choose("photos", "4")
    shown.type("#text", "x", keys().CONTROL, keys().ENTER)
    shown.answers()
    assert shown.server.requests[-1][1] == "4"


def test_refreshing_keeps_what_was_typed(shown):
    shown.choose("houses")
    shown.type("#column-6", "kept")
    shown.one("#choice button").click()
    shown.wait("document.getElementById('said').textContent.includes('up to date')")
    assert shown.one("#column-6").get_attribute("value") == "kept"


def test_a_model_without_a_manifest_takes_raw_json(shown):
    shown.choose("sum/any")
    template = json.loads(shown.one("#raw").get_attribute("value"))
    assert template == {"signature_name": "serving_default", "instances": [{"x": [0.0, 0.0], "name": ""}]}
    body = '{"instances": [{"x": [NaN, 9007199254740993], "name": ""}]}'
    shown.one("#raw").clear()
    shown.type("#raw", body, keys().CONTROL, keys().ENTER)
    shown.answers()
    assert "/v1/models/sum%2Fany/versions/7:predict" in shown.server.paths
    assert shown.sent() == body
    assert shown.all(".card pre")[0].text == '{"predictions": [[1.5, 9007199254740993]]}'
    shown.one('#signature option[value="big"]').click()
    assert json.loads(shown.one("#raw").get_attribute("value"))["instances"] == [{"pixels": []}]
    assert "input pixels: float [any, 32, 32]" in shown.one("#signature-about").text
    shown.one('#signature option[value="whole"]').click()
    assert json.loads(shown.one("#raw").get_attribute("value"))["inputs"] == {"n": 0}


def test_a_damaged_manifest_is_said_and_raw_json_offered(shown):
    shown.choose("damaged")
    assert "manifest.json cannot be used" in shown.one("#about").text
    assert shown.one("#panel-raw").is_displayed()


def test_sample_values_fill_the_row(shown):
    shown.choose("houses")
    shown.one("#row-sample").click()
    values = [field.get_attribute("value") for field in shown.all(FIELDS)]
    assert values == ["blue", "1", "57.92", "false", "2014-06-15", "2014-06-15T12:00", ""]
    shown.one("#row-empty").click()
    values = [field.get_attribute("value") for field in shown.all(FIELDS)]
    assert set(values) == {""}


@pytest.mark.parametrize("model", ["photos", "texts", "houses", "sum/any"])
def test_the_keyboard_reaches_every_control_in_order_and_sees_where_it_is(shown, model):
    from selenium.webdriver import ActionChains

    shown.choose(model)
    shown.js("document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0)")
    wanted = shown.js(
        """
        return [...document.querySelectorAll('input, select, textarea, button, summary, a[href]')]
          .filter((one) => one.checkVisibility() && one.getClientRects().length)
          .map((one) => one.id || one.textContent)
        """
    )
    shown.js("document.body.tabIndex = -1; document.body.focus()")
    reached, plain = [], []
    for _ in range(60):
        ActionChains(shown.browser).send_keys(keys().TAB).perform()
        name, outline = shown.js(
            """
            const one = document.activeElement;
            const ring = one.classList.contains('unseen') ? one.nextElementSibling : one;
            const style = getComputedStyle(ring);
            return [one === document.body ? '' : one.id || one.textContent,
                    style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2];
            """
        )
        if not name or (reached and name == reached[0]):
            break
        if not reached or name != reached[-1]:  # dates have several stops inside
            reached.append(name)
        if not outline:
            plain.append(name)
    assert reached == wanted
    assert plain == []


@pytest.mark.parametrize("model", ["photos", "texts", "houses", "sum/any"])
def test_every_control_has_a_name(shown, model):
    shown.choose(model)
    unnamed = shown.js(
        """
        return [...document.querySelectorAll('input, select, textarea, button')]
          .filter((one) => !(one.labels?.length && one.labels[0].textContent.trim()) && !one.textContent.trim())
          .map((one) => one.outerHTML)
        """
    )
    assert unnamed == []


@pytest.mark.parametrize("model", ["photos", "texts", "houses", "sum/any"])
def test_a_phone_needs_no_sideways_scrolling(shown, tmp_path, model):
    shown.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    shown.open()
    shown.choose(model)
    shown.server.answers = {name: answer.replace("bee", "b" * 200) for name, answer in shown.server.answers.items()}
    if model == "photos":
        shown.type("#files", str(photo(tmp_path / f"{'long' * 40}.jpg")))
    else:
        shown.js("document.querySelector('.panel:not([hidden])').requestSubmit()")
    shown.answers()
    for summary in shown.all("summary"):
        shown.js("arguments[0].parentElement.open = true", summary)
    assert shown.js("return [innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    small = shown.js(
        """
        return [...document.querySelectorAll('input:not(.unseen), select, textarea, button:not(.small), .button')]
          .filter((one) => one.getClientRects().length && one.offsetHeight < 44).map((one) => one.id || one.textContent)
        """
    )
    assert small == []


def test_a_phone_offers_its_camera_and_a_desktop_does_not(shown):
    shown.choose("photos")
    assert not shown.one("label[for=camera]").is_displayed()
    shown.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        shown.open()
        shown.choose("photos")
        assert shown.one("label[for=camera]").is_displayed()
        assert shown.one("#camera").get_attribute("accept") == "image/*"
        assert shown.one("#files").get_attribute("accept") == "image/jpeg,image/png"
    finally:
        shown.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_an_answer_takes_the_place_that_was_kept_for_it(shown, tmp_path):
    shown.choose("photos")
    shown.server.hold.clear()
    shown.type("#files", str(photo(tmp_path / "a.jpg")))
    shown.wait("document.querySelector('.state')?.textContent === 'sending'")
    before = shown.js("return document.querySelector('.bars').getBoundingClientRect().toJSON()")
    shown.server.hold.set()
    shown.answers()
    after = shown.js("return document.querySelector('.bars').getBoundingClientRect().toJSON()")
    assert after == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_both_schemes(shown, scheme):
    shown.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    shown.choose("texts")
    shown.type("#text", "x", keys().CONTROL, keys().ENTER)
    shown.answers()
    shown.server.fail = (400, '{"error": "no"}')
    shown.type("#text", keys().CONTROL, keys().ENTER)
    shown.answers(2)
    ratios = shown.js(
        """
        const light = (colour) => {
          const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = (one) => {
          for (; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (colour !== 'rgba(0, 0, 0, 0)') return colour;
          }
        };
        return ['h1', '.note', '.hint', '.about', 'button', '.quiet', 'textarea', '.name', '.share', '.state',
                'summary', '.problem strong', '.problem .hint', '.server'].map((selector) => {
          const one = document.querySelector(`${selector}:not([hidden])`);
          const pair = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
          return [selector, (pair[0] + 0.05) / (pair[1] + 0.05)];
        });
        """
    )
    shown.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert {name: ratio for name, ratio in ratios if ratio < 4.5} == {}


def test_who_wants_less_motion_gets_none(shown):
    for value, name in (("reduce", "none"), ("no-preference", "grow")):
        shown.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-reduced-motion", "value": value}]}
        )
        shown.open()
        shown.choose("texts")
        shown.type("#text", keys().CONTROL, keys().ENTER)
        shown.answers()
        assert shown.js("return getComputedStyle(document.querySelector('.fill')).animationName") == name
    shown.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_copying_takes_the_command(shown):
    shown.choose("texts")
    shown.type("#text", "x", keys().CONTROL, keys().ENTER)
    shown.answers()
    text = copied(shown)
    assert text == shown.all(".card pre")[-1].get_attribute("textContent")
    assert text == f"curl -d '{shown.sent()}' '{shown.server.url}v1/models/texts/versions/9007199254740993:predict'"


def test_where_there_is_no_clipboard_it_is_copied_the_old_way(shown):
    shown.js("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    shown.choose("texts")
    shown.type("#text", "x", keys().CONTROL, keys().ENTER)
    shown.answers()
    shown.js("document.addEventListener('copy', () => { window.taken = getSelection().toString(); })")
    shown.all(".card summary")[-1].click()
    shown.all(".card details button")[-1].click()
    shown.wait("document.getElementById('said').textContent === 'Copied.'")
    assert shown.js("return document.activeElement.textContent") == "Copied"
    assert shown.all("body > textarea") == []


def test_clearing_forgets_the_answers_and_what_waits(shown, tmp_path):
    shown.choose("photos")
    shown.server.hold.clear()
    shown.type("#files", "\n".join(str(photo(tmp_path / f"{name}.jpg")) for name in "abc"))
    shown.wait("document.querySelectorAll('.card').length === 3")
    while not shown.server.requests:
        time.sleep(0.02)
    shown.one("#clear").click()
    shown.server.hold.set()
    shown.type("#files", str(photo(tmp_path / "d.jpg", 9, 9)))
    shown.answers()
    assert len(shown.server.requests) == 2
    assert shown.one(".card h3").text == "d.jpg"
    shown.one("#clear").click()
    assert shown.all(".card") == []
    assert shown.js("return document.activeElement.id") == "output-title"
    assert shown.one("#nothing").is_displayed()


def test_it_keeps_nothing(shown):
    shown.choose("texts")
    shown.type("#text", "secret", keys().CONTROL, keys().ENTER)
    shown.answers()
    assert shown.js("return [localStorage.length, sessionStorage.length, document.cookie, location.href]") == [
        0, 0, "", shown.server.url,
    ]  # fmt: skip
    assert (
        shown.js(
            "return performance.getEntriesByType('resource').filter((r) => !r.name.startsWith(location.origin)).length"
        )
        == 0
    )
