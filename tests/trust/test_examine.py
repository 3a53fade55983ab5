"""What inputs report of their items to the data check."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import photos
import pytest
from PIL import Image

import tlkit
from tlkit.inputs.exclusions import Exclusion, add_exclusions, excluded_rows, read_exclusions
from tlkit.inputs.image.examine import camera_of
from tlkit.inputs.image.near import near_images
from tlkit.inputs.text.examine import encoding_of, language_of, script_of
from tlkit.inputs.text.near import near_texts
from tlkit.training.probe import out_of_fold
from tlkit.trust.check.run import check, examine, questions_of


def picture(seed: int) -> Image.Image:
    """A smooth random picture of 200 x 160 pixels."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 255, (9, 11, 3)).astype(np.uint8))
    return small.resize((200, 160), Image.Resampling.BICUBIC)


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((64, 64), Image.Resampling.BOX))


def test_resized_compressed_and_cut_images_are_near_copies_and_others_are_not():
    originals = [picture(seed) for seed in range(20)]
    changed = []
    for image in originals[:5]:
        width, height = image.size
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=25)
        cut = (width // 20, height // 20, width - width // 20, height - height // 20)
        side = (0, 0, width - width // 20, height - height // 20)
        changed += [image.resize((100, 80)), Image.open(buffer), image.crop(cut), image.crop(side)]
    # Much alike, but another picture: correlation 0.962.
    alike = Image.blend(originals[10], originals[11], 0.2)
    small = np.stack([grey(image) for image in (*originals, *changed, alike)])
    pairs = near_images(small)
    found = {(a, b) for a, b in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)}
    assert {(n // 4, 20 + n) for n in range(20)} <= found
    assert 40 not in {b for _, b in found}
    assert all(a == b or (b >= 20 and (b - 20) // 4 in (a, (a - 20) // 4)) for a, b in found)
    assert len(near_images(np.full((3, 64, 64), 90, np.uint8)).left) == 0  # nothing is to be seen on them


def test_texts_with_a_word_changed_are_near_copies():
    words = np.random.default_rng(0).choice([f"word{n}" for n in range(500)], (60, 30))
    texts = [" ".join(row) for row in words]
    texts += [texts[3].replace(texts[3].split()[5], "another"), texts[4], "short", "short"]
    pairs = near_texts(texts)
    assert {(3, 60), (4, 61)} == set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    assert pairs.similarity[1] == 1.0


@pytest.mark.parametrize(
    ("text", "script", "encoding"),
    [("Good film", "LATIN", "plain"), ("naïve", "LATIN", "other"), ("naÃ¯ve", "LATIN", "broken"),
     ("хороший", "CYRILLIC", "other"), ("好电影", "CJK", "other"), ("a\ufffdb", "LATIN", "broken"), ("", "", "plain")],
)  # fmt: skip
def test_scripts_and_broken_encodings(text: str, script: str, encoding: str):
    assert script_of(text) == script
    assert encoding_of(text) == encoding


def test_languages_of_texts_that_are_long_enough():
    german = "Das ist ein sehr guter Film, den ich gern noch einmal sehen würde."
    english = "a film that is as funny as it is sad , and never less than gripping ."
    assert [language_of(text) for text in (german, english, "too short", "1 2 3 " * 20)] == ["de", "en", "", ""]


def test_the_camera_is_read_from_exif():
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Acme", "Z1 Pro"
    picture(0).save(buffer, "JPEG", exif=exif)
    assert camera_of(buffer.getvalue()[:4096]) == "Acme Z1 Pro"
    plain = io.BytesIO()
    picture(0).save(plain, "JPEG")
    assert camera_of(plain.getvalue()) == "no EXIF"
    assert camera_of(b"Exif\x00\x00II*\x00\xff\xff\xff\xff") == "EXIF"


def test_images_name_files_sizes_copies_and_what_cannot_be_read(tmp_path: Path):
    root = photos.write_folder(tmp_path / "photos", {"ants": 4, "bees": 4})
    (root / "bees" / "03.jpg").write_bytes((root / "ants" / "00.jpg").read_bytes())
    (root / "ants" / "9.jpg").write_bytes(photos.encode(photos.photo(1), "JPEG")[:200])
    data = tlkit.images_from_folder(root, size=32, on_error="skip", val_fraction=0.5)
    examined = examine(data, "image")
    assert set(examined.names) == {f"{name}/{n:02d}.jpg" for name in ("ants", "bees") for n in range(4)}
    assert set(examined.facts["width"].values) == {48.0}
    assert set(examined.facts["format"].values) == {"jpeg"}
    twins = [examined.names.index("ants/00.jpg"), examined.names.index("bees/03.jpg")]
    assert len(set(examined.copies[twins])) == 1
    assert [one.name for one in examined.unusable] == ["ants/9.jpg"]
    assert examined.show(0).image.startswith(b"\xff\xd8")
    assert [question.name for question in questions_of(data)] == ["the label"]


def test_a_list_of_exclusions_leaves_out_images_texts_and_rows(tmp_path: Path, caplog):
    root = photos.write_folder(tmp_path / "photos", {"ants": 4, "bees": 4})
    (root / "ants" / "bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
    path = tmp_path / "exclude.csv"
    assert add_exclusions(path, [Exclusion("ants/bad.jpg"), Exclusion("bees/01.jpg", "", "copies", "=")]) == (2, 2)
    data = tlkit.images_from_folder(root, size=32, val_fraction=0.5, exclude=path)
    assert data.dropped["excluded"] == 2
    assert "01.jpg" not in {path.name for name in data.splits for path in data.paths(name) if "bees" in str(path)}
    assert "2 images that data.exclude lists" in str(data.tally)

    rows = pd.DataFrame({"x": np.arange(40.0), "y": np.arange(40) % 3, "z": ["a", "b"] * 20})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    whole = tlkit.table_from_file(tmp_path / "rows.csv", "z")
    examined = examine(whole, "row")
    item = examined.names.index("rows.csv row 7")
    table_list = tmp_path / "rows-exclude.csv"
    add_exclusions(table_list, [Exclusion("rows.csv row 7", examined.digest(item), "copies", "twice")])
    with caplog.at_level("INFO", "tlkit"):
        fewer = tlkit.table_from_file(tmp_path / "rows.csv", "z", exclude=table_list)
    assert f"1 rows are left out: {table_list}" in caplog.text
    assert fewer.dropped["excluded"] == 1
    assert "rows.csv row 7" not in {place.rsplit("/", 1)[-1] for name in fewer.splits for place in fewer.places(name)}
    rows.drop(index=2).to_csv(tmp_path / "rows.csv", index=False)  # now another row is row 7
    with pytest.raises(tlkit.errors.DataError, match="1 items of the list of exclusions have other content now"):
        tlkit.table_from_file(tmp_path / "rows.csv", "z", exclude=table_list)


def test_a_list_is_added_to_and_never_written_over(tmp_path: Path):
    path = tmp_path / "exclude.csv"
    path.write_text("item,note\nants/1.jpg,mine\n")
    assert add_exclusions(
        path, [Exclusion("ants/1.jpg"), Exclusion("ants/2.jpg", "ab", "copies", "twice, or more")]
    ) == (1, 2)
    assert path.read_text() == "item,note\nants/1.jpg,mine\nants/2.jpg,\n"
    assert [one.item for one in read_exclusions(path)] == ["ants/1.jpg", "ants/2.jpg"]
    before = path.stat().st_mtime_ns
    assert add_exclusions(path, [Exclusion("ants/2.jpg")]) == (0, 2)
    assert path.stat().st_mtime_ns == before


def test_bad_lists_are_refused(tmp_path: Path):
    with pytest.raises(tlkit.errors.ConfigError, match="names a file that does not exist.*tlkit check --fix"):
        read_exclusions(tmp_path / "none.csv")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("path\na.jpg\n")
    with pytest.raises(tlkit.errors.DataError, match="has no column 'item'"):
        read_exclusions(wrong)
    other = tmp_path / "other.csv"
    other.write_text("item\ncats/1.jpg\n")
    with pytest.raises(tlkit.errors.DataError, match="no item of the list of exclusions is in photos"):
        excluded_rows(other, ["ants/1.jpg"], str, "photos")
    other.write_text('item,reason\nants/1.jpg,"never closed\nants/2.jpg,\n')
    with pytest.raises(tlkit.errors.DataError, match="is no CSV.*other.csv.*close each quote that is opened"):
        read_exclusions(other)


def test_lines_of_a_list_that_name_nothing_are_warned_of(tmp_path: Path, caplog):
    path = tmp_path / "exclude.csv"
    names = ["ants/1.jpg", "ants/2.jpg"]
    path.write_text("item\nants/2.jpg\n" + "".join(f"ant/{number}.jpg\n" for number in range(5)))
    assert excluded_rows(path, names, str, "photos").tolist() == [False, True]
    assert f"5 lines of {path} name nothing in photos: ant/0.jpg, ant/1.jpg, ant/2.jpg, …" in caplog.text
    caplog.clear()
    path.write_text("note,item\nmine,ants/2.jpg\nshort\n")
    assert excluded_rows(path, names, str, "photos").tolist() == [False, True]
    assert f"1 line of {path} names nothing in photos: ''" in caplog.text
    path.write_text("item,reason\n")
    assert not excluded_rows(path, names, str, "photos").any()
    assert f"the list of exclusions {path} names no item" in caplog.text


def test_rows_name_columns_keys_and_groups(tmp_path: Path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({
        "id": [f"k{n}" for n in range(60)], "patient": [f"p{n // 3}" for n in range(60)], "age": random.normal(size=60),
        "kind": random.choice(["a", "b"], 60), "day": pd.date_range("2024-01-01", periods=60).astype(str),
        "label": ["yes", "no"] * 30,
    })  # fmt: skip
    frame.loc[59, "id"] = "k0"
    kinds = {"id": "id", "day": "date", "patient": "ignore"}
    examined = examine(tlkit.table_from_file(frame, "label", kinds=kinds), "row")
    assert {"age", "kind", "day", "missing cells"} <= set(examined.facts)
    assert examined.facts["kind"].values.dtype == object
    assert examined.time_name == "day"
    assert list(examined.guessed) == ["'patient'"]
    pairs = examined.near(None)
    assert {examined.names[pairs.left[0]], examined.names[pairs.right[0]]} == {"data row 1", "data row 60"}
    assert examined.features(np.arange(60)).shape[0] == 60
    assert (examined.features(np.array([7, 3])) == examined.features(np.arange(60))[[7, 3]]).all()
    assert examined.show(0).cells["label"] in ("yes", "no")


def outcomes_of(data, kind: str) -> dict[str, str]:
    result = check(examine(data, kind), questions_of(data), fit=out_of_fold, levels={})
    assert {outcome.status for outcome in result.outcomes} <= {"ok", "warn", "skipped"}
    assert result.to_dict()["items"]
    return {outcome.rule: outcome.skipped or outcome.summary for outcome in result.outcomes}


def test_several_labels_several_targets_and_survival_can_be_checked(tmp_path: Path):
    frame = photos.write_tagged(tmp_path / "photos", ("red", "green"), 40)
    frame.to_csv(tmp_path / "photos.csv", index=False)
    columns = dict(zip(("path_column", "label_column"), frame.columns, strict=False))
    data = tlkit.images_from_table(
        tmp_path / "photos.csv", size=32, label_separator=";", root=tmp_path / "photos", **columns
    )
    assert [question.name for question in questions_of(data)] == data.class_names
    assert outcomes_of(data, "image")["missing_classes"] == "every split has every class"

    random = np.random.default_rng(0)
    rows = pd.DataFrame({"x": random.normal(size=80), "price": random.normal(size=80), "kind": ["a", "b"] * 40})
    several = tlkit.table_from_file(rows, ["price", "kind"])
    assert [question.name for question in questions_of(several)] == ["price", "kind"]
    assert (
        "doubtful" in outcomes_of(several, "row")["label_noise"]
        or "no label" in outcomes_of(several, "row")["label_noise"]
    )

    times = pd.DataFrame({"x": random.normal(size=80), "t": random.exponential(1, 80) + 0.1, "e": [1, 0] * 40})
    survival = tlkit.table_from_file(times, tlkit.SurvivalColumns("t", "e"))
    assert [question.name for question in questions_of(survival)] == ["t", "e"]
    assert "only labels that are classes" in outcomes_of(survival, "row")["label_noise"]
