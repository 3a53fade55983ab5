from __future__ import annotations

import re

import numpy as np
import pytest
from html_page import Page

from tlkit.errors import ConfigError
from tlkit.report.html import render_page, visible, write_page
from tlkit.report.metrics import classification_metrics
from tlkit.report.multi_label import multi_label_metrics
from tlkit.tasks.text_classification.attribution import TokenAttribution
from tlkit.tasks.text_classification.confident import JudgedText, most_confident_errors, most_confident_hits
from tlkit.tasks.text_classification.page import SHOWN, write_text_report
from tlkit.tasks.text_classification.wordpieces import Piece

NAMES = ("negative", "<script>alert(1)</script>", "חיובי")


def metrics_of(k=3, names=NAMES, n=60):
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(n, k))
    labels = np.where(rng.random(n) < 0.8, logits.argmax(axis=1), rng.integers(0, k, n))
    return classification_metrics(logits, labels, names)


def item(text="A dull film.", row=4, **changes):
    values = {
        "row": row,
        "text": text,
        "true": (NAMES[0],),
        "predicted": (NAMES[1],),
        "target": 1,
        "probability": 0.97,
        "confidence": 0.97,
        "right": False,
    }
    return JudgedText(**{**values, **changes})


def explained(*pieces, gap=1e-7):
    pieces = tuple(Piece(*piece) for piece in pieces)
    return TokenAttribution(
        text="".join(piece.text for piece in pieces),
        pieces=pieces,
        target=1,
        class_name=NAMES[1],
        probability=0.97,
        difference=sum(piece.value for piece in pieces),
        gap=gap,
    )


def written(tmp_path, **options):
    path = write_text_report(tmp_path / "out" / "report.html", **{"title": "T", "metrics": metrics_of(), **options})
    return path.read_text(encoding="utf-8")


def test_figures_classes_and_confusions(tmp_path):
    metrics = metrics_of()
    page = Page(written(tmp_path, title="Films & more", metrics=metrics))
    assert page.all("title") == page.all("h1") == ["Films & more"]
    figures = dict(zip(page.all("dt"), page.all("dd"), strict=True))
    assert figures["accuracy"] == f"{metrics.accuracy:.3f}"
    assert figures["texts"] == "60"
    assert list(figures)[-2:] == ["loss", "texts"]
    cells = page.all("td")
    assert cells[0] == f"{metrics.per_class['negative']['precision']:.3f}"
    row = metrics.confusion_matrix[0]
    assert cells[12] == f"{row[0]}{100 * row[0] / row.sum():.0f} %"
    assert len(page.all("td", class_="hit")) == 3
    assert len(page.all("td", class_="miss")) == 6


def test_it_loads_nothing_and_runs_nothing(tmp_path):
    evil = 'x" onmouseover="alert(1) <img src=http://e.example/x> </style><script>alert(2)</script> {{ 7 * 7 }}'
    text = written(
        tmp_path,
        title=evil,
        metrics=metrics_of(names=(evil, *NAMES[1:])),
        wrong=[item(evil), item(evil, 5, true=(evil,), predicted=(evil,))],
        attributions={4: explained((evil, 0.5), ("</mark><script>", -0.4))},
        summary={evil: evil, "list": [evil], "counts": {evil: {evil: 3}}},
    )
    page = Page(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img", "link", "iframe", "object", "base"})
    assert not any(name.startswith("on") or name in {"src", "href"} for _, found in page.tags for name in found)
    assert "url(" not in text
    assert "@import" not in text
    assert "49" not in re.sub(r"0\.\d+", "", text)
    policy = next(found["content"] for tag, found in page.tags if found.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert evil in "".join(page.all("p", class_="text"))


def test_words_are_marked_by_more_than_colour(tmp_path):
    pieces = [("A ", 0.01), ("dull ", 0.8), ("film", -0.4), (". ", 0.15), ("unread tail", 0.0, False)]
    text = written(tmp_path, wrong=[item()], attributions={4: explained(*pieces)})
    page = Page(text)
    marks = [(found["class"], found["title"]) for tag, found in page.tags if tag == "mark" and "title" in found]
    assert marks == [
        ("for s3", f"+0.800 for “{NAMES[1]}”"),
        ("against s2", f"−0.400 against “{NAMES[1]}”"),
        ("for s1", f"+0.150 for “{NAMES[1]}”"),
    ]
    assert page.all("p", class_="text") == ["A dull film. unread tail"]
    assert page.all("span", title="not read by the model") == ["unread tail"]
    assert page.all("details")[0].count("−0.400") == 1
    assert "underline solid" in text
    assert "underline dashed" in text


def test_text_of_any_direction_is_isolated(tmp_path):
    page = Page(written(tmp_path, wrong=[item("סרט \u202eטוב", true=("חיובי",))]))
    assert [found.get("dir") for tag, found in page.tags if found.get("class") == "text"] == ["auto"]
    assert "חיובי" in page.all("bdi")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x00b\x1bc\x7f", "a␀b␛c␡"),
        ("a\nb\tc", "a\nb\tc"),
        ("a\x85b\u2028c", "a\nb\nc"),
        ("a\ud800b\x9bc", "a�b�c"),
        ("👩\u200d👧 e\u0301 \u202eم \u00a0x", "👩\u200d👧 e\u0301 \u202eم \u00a0x"),
    ],
)
def test_what_html_cannot_hold_is_made_visible(tmp_path, raw, shown):
    assert visible(raw) == shown
    page = Page(written(tmp_path, wrong=[item(raw)]))
    assert page.all("p", class_="text") == [shown]


def test_long_texts_are_cut_and_say_so(tmp_path):
    page = written(tmp_path, wrong=[item("x" * (SHOWN + 1234))])
    assert "and 1,234 more characters" in page
    assert "x" * SHOWN in page
    assert "x" * (SHOWN + 1) not in page
    pieces = [("word ", 0.1)] * (SHOWN // 5) + [("tail", 0.2), ("y" * 96, 0.0, False)]
    page = written(tmp_path, wrong=[item()], attributions={4: explained(*pieces)})
    assert "and 100 more characters" in page
    one = written(tmp_path, wrong=[item()], attributions={4: explained(("z" * (SHOWN + 7), 1.0))})
    assert "and 7 more characters" in one
    assert "z" * SHOWN + "<" in one


def test_an_empty_text_and_a_text_of_zeros(tmp_path):
    page = Page(written(tmp_path, wrong=[item("")], right=[item("same", 5)], attributions={
        4: explained(), 5: explained(("same", 0.0))}))  # fmt: skip
    assert page.all("p", class_="text") == ["", "same"]
    assert len(page.all("details")) == 1


def test_many_classes_give_the_commonest_confusions(tmp_path):
    names = tuple(f"class {i}" for i in range(30))
    metrics = metrics_of(30, names, 900)
    page = Page(written(tmp_path, metrics=metrics))
    assert page.all("td", class_="hit") == []
    off = np.where(np.eye(30, dtype=bool), 0, metrics.confusion_matrix)
    i, j = np.unravel_index(off.argmax(), off.shape)
    rows = [row.split() for row in page.all("tr")]
    assert f"class {i} class {j} {off.max()}".split() in rows
    perfect = classification_metrics(10 * np.eye(30), np.arange(30), names)
    assert "all predictions are correct" in written(tmp_path, metrics=perfect)


def test_several_labels(tmp_path):
    names = ("funny", "<b>sad</b>", "long")
    logits = np.array([[2.0, -1.0, 0.5], [-3.0, -1.0, -2.0], [1.0, 2.0, -1.0]])
    labels = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0]])
    chances = 1 / (1 + np.exp(-logits))
    texts = ["one", "two", "three"]
    page = Page(
        written(
            tmp_path,
            metrics=multi_label_metrics(logits, labels, names),
            wrong=most_confident_errors(chances, labels, texts, names),
            right=most_confident_hits(chances, labels, texts, names),
        )
    )
    assert page.all("p", class_="text") == ["two", "one", "three"]
    assert page.all("i") == ["no label"]
    assert ["funny", "2", "0", "1", "0"] in [row.split() for row in page.all("tr")]
    assert any("average precision" in heading for heading in page.all("th"))


def test_facts_about_the_data(tmp_path):
    summary = {
        "classes": list(NAMES),
        "counts": {"train": {"negative": 1200, "חיובי": 3}, "test": {"negative": 7}},
        "skipped": 0,
        "cached_in_memory": True,
        "group": None,
        "report": {
            "empty": {"train": 1, "test": 0},
            "repeated_in_train": 12,
            "leaks": {"test": 2},
            "examples": {"empty": ["a.csv:4"], "leaks": []},
        },
    }
    page = Page(written(tmp_path, summary=summary))
    table = [row.split() for row in page.all("tr")]
    assert ["negative", "1,200", "7"] in table
    assert ["חיובי", "3", "0"] in table
    facts = dict(zip(page.all("dt"), page.all("dd"), strict=True))
    assert facts["skipped"] == "0"
    assert facts["cached in memory"] == "yes"
    assert facts["group"] == "none"
    assert facts["report: empty"] == "train 1, test 0"
    assert facts["report: repeated in train"] == "12"
    assert facts["report: examples: empty"] == "a.csv:4"
    assert facts["report: examples: leaks"] == "none"
    assert "classes" not in facts


def test_sections_without_contents_are_left_out(tmp_path):
    page = written(tmp_path)
    assert "Surest" not in page
    assert ">Data<" not in page
    assert "solid</mark>" not in written(tmp_path, wrong=[item()])


# Writing


def test_a_report_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write_text_report(path, title="first", metrics=metrics_of())
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    for step in ("os.fsync", "pathlib.Path.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(step, fail)
            with pytest.raises(OSError, match="disk full"):
                write_text_report(path, title="second", metrics=metrics_of())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert b"<title>second" in write_text_report(path, title="second", metrics=metrics_of()).read_bytes()


def test_the_same_report_has_the_same_bytes(tmp_path):
    options = {"metrics": metrics_of(), "wrong": [item()], "attributions": {4: explained(("A ", 0.5))}}
    assert written(tmp_path, **options) == written(tmp_path, **options)


@pytest.mark.parametrize("name", ["report.pdf", "report", "report.html.gz"])
def test_a_report_is_an_html_file(tmp_path, name):
    with pytest.raises(ConfigError, match=r"the report must be an HTML file.*\.html, \.htm"):
        write_text_report(tmp_path / name, title="T", metrics=metrics_of())
    assert list(tmp_path.iterdir()) == []


def test_a_template_does_not_swallow_a_missing_value():
    import jinja2

    with pytest.raises(jinja2.UndefinedError, match="title"):
        render_page("text_report.html.j2")


def test_folders_are_made(tmp_path):
    assert write_page(tmp_path / "a" / "b.HTM", "x").read_text() == "x"
