from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from tiny_table import tiny_frame, tiny_table_task

from tlkit.errors import ConfigError, DataError, ProjectError
from tlkit.tasks.tabular.embedding_features import EmbeddingFeatures
from tlkit.tasks.tabular.embedding_maps import HEIGHT, WIDTH, _overlaps, _width, embedding_map, map_of
from tlkit.tasks.tabular.embedding_tables import embedding_tables, read_embedding_tables, write_embedding_tables

TORTURE = {
    "colour": [" red\t", "Red", "?", "", None, "żółty", "(unknown)"],
    "built": ["2013-07-01T23:30:00+05:00", " 2014-12-29 ", "9999-12-31", "0001-01-01", "2013-02-30", None, "n/a"],
}


@pytest.fixture(scope="module")
def task():
    return tiny_table_task()


@pytest.fixture
def frame():
    found = tiny_frame(60)
    for name, cells in TORTURE.items():
        found.loc[: len(cells) - 1, name] = cells
    found.loc[3, "area (m²)"] = np.inf
    return found


def made_up(values, width=3, seed=0):
    rows = ["(unknown)", "(missing)", *values]
    vectors = np.random.default_rng(seed).normal(size=(len(rows), width)).astype("float32")
    return pd.DataFrame({"value": rows, **{f"v{i + 1}": vectors[:, i] for i in range(width)}})


# Tables


def test_tables_are_the_weights_by_label(task):
    tables = embedding_tables(task)
    assert list(tables) == [code.name for code in task.preprocessing.codes]
    for number, code in enumerate(task.preprocessing.codes):
        table = tables[code.name]
        assert tuple(table["value"]) == code.labels
        assert tuple(table["value"][:2]) == ("(unknown)", "(missing)")
        weights = task.features.get_layer(f"embedding_{number}").get_weights()[0]
        np.testing.assert_array_equal(table.iloc[:, 1:].to_numpy(), weights)
    assert tables["built month"].attrs["part"] == "month"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_is_written_is_read_again_exactly(task, tmp_path, form):
    files = write_embedding_tables(task, tmp_path / "e", form)
    assert [file.suffix for file in files] == [f".{form}"] * len(task.preprocessing.codes)
    found = read_embedding_tables(tmp_path / "e")
    for name, table in embedding_tables(task).items():
        pd.testing.assert_frame_equal(found[name], table)
        assert found[name].attrs == table.attrs


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_values_keep_their_form(task, tmp_path, form, monkeypatch):
    values = ["007", "NA", "null", "a,b", 'q"q', "x\ny", "1e5", " s ", "ż", "=1+1", "True"]
    table = made_up(values)
    monkeypatch.setattr(
        "tlkit.tasks.tabular.embedding_tables.embedding_tables", lambda task: {"a/b": table, "A b": table}
    )
    files = write_embedding_tables(task, tmp_path / "e", form)
    assert [file.name for file in files] == [f"a_b.{form}", f"A_b_2.{form}"]
    assert read_embedding_tables(tmp_path / "e")["A b"]["value"].tolist() == table["value"].tolist()


def test_nothing_is_overwritten_unasked_and_nothing_foreign_ever(task, tmp_path):
    folder = tmp_path / "e"
    write_embedding_tables(task, folder)
    with pytest.raises(ProjectError, match="is not empty"):
        write_embedding_tables(task, folder)
    write_embedding_tables(task, folder, "parquet", overwrite=True)
    assert not list(folder.glob("*.csv"))
    (folder / "mine.txt").write_text("x")
    with pytest.raises(ProjectError, match=r"other files than embeddings.*mine\.txt"):
        write_embedding_tables(task, folder, overwrite=True)
    assert (folder / "mine.txt").read_text() == "x"
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("x")
    with pytest.raises(ProjectError, match="contains no written embeddings"):
        write_embedding_tables(task, other, overwrite=True)
    with pytest.raises(ConfigError, match="form of the tables.*csv, parquet"):
        write_embedding_tables(task, tmp_path / "new", "xlsx")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "step", ["tlkit.tasks.tabular.embedding_tables._write_table", "tlkit.tasks.tabular.embedding_tables._to_disk"]
)
def test_a_folder_is_never_half_written(task, tmp_path, monkeypatch, step):
    write_embedding_tables(task, tmp_path / "e")
    before = {file.name: file.read_bytes() for file in (tmp_path / "e").iterdir()}

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(step, fail)
    for folder, options in ((tmp_path / "e", {"overwrite": True}), (tmp_path / "new", {})):
        with pytest.raises(OSError, match="disk full"):
            write_embedding_tables(task, folder, **options)
    assert [file.name for file in tmp_path.iterdir()] == ["e"]
    assert {file.name: file.read_bytes() for file in (tmp_path / "e").iterdir()} == before


def test_the_old_tables_come_back_when_the_new_ones_cannot_be_put(task, tmp_path, monkeypatch):
    from pathlib import Path

    write_embedding_tables(task, tmp_path / "e")
    replace = Path.replace

    def fail(self, target):
        if ".tmp-" in self.name:
            raise OSError("busy")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="busy"):
        write_embedding_tables(task, tmp_path / "e", overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["e"]
    assert len(read_embedding_tables(tmp_path / "e")) == len(task.preprocessing.codes)


def test_folders_that_hold_no_tables_are_refused(task, tmp_path):
    with pytest.raises(ProjectError, match="contains no written embeddings.*write_embedding_tables"):
        read_embedding_tables(tmp_path)
    [first, *_] = write_embedding_tables(task, tmp_path / "e")
    first.write_text("value,w\n1,2\n")
    with pytest.raises(ProjectError, match="cannot be read: its columns are value, w"):
        read_embedding_tables(tmp_path / "e")
    manifest = tmp_path / "e" / "embeddings.json"
    manifest.write_text(json.dumps({"format": 99}))
    with pytest.raises(ProjectError, match="of another format"):
        read_embedding_tables(tmp_path / "e")


# Features


def test_features_are_those_of_the_network(task, frame):
    features = EmbeddingFeatures.of_task(task).fit(frame)
    found = features.transform(frame)
    encoded = task.preprocessing.encode_frame(frame)
    for number, (name, table) in enumerate(embedding_tables(task).items()):
        wanted = table.iloc[:, 1:].to_numpy()[encoded[:, number].astype(int)]
        own = [column for column in found.columns if column.startswith(f"{name} v")]
        np.testing.assert_array_equal(found[own].to_numpy(), wanted, err_msg=name)
    assert list(found.columns) == list(features.get_feature_names_out())
    assert features.numbers_ == ["area (m²)", "distance"]
    median = np.nanmedian(frame["area (m²)"].replace(np.inf, np.nan))
    assert found["area (m²)"].iloc[3] == median
    assert found.index.equals(frame.index)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_written_tables_need_no_tensorflow(task, frame, tmp_path, form):
    write_embedding_tables(task, tmp_path / "e", form)
    rows = frame.drop(columns=["rooms", "garden"]).assign(rooms=frame["rooms"].astype(object), garden=frame["garden"])
    rows.to_pickle(tmp_path / "rows.pkl")
    code = (
        "import sys, pandas as pd\n"
        "from tlkit.tasks.tabular.embedding_features import EmbeddingFeatures\n"
        f"rows = pd.read_pickle({str(tmp_path / 'rows.pkl')!r})\n"
        f"EmbeddingFeatures({str(tmp_path / 'e')!r}).fit_transform(rows).to_pickle({str(tmp_path / 'out.pkl')!r})\n"
        "print(sorted({'tensorflow', 'keras'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    wanted = EmbeddingFeatures.of_task(task).fit_transform(rows)
    pd.testing.assert_frame_equal(pd.read_pickle(tmp_path / "out.pkl"), wanted)  # noqa: S301


@pytest.mark.parametrize("estimator", [HistGradientBoostingRegressor(max_iter=10), KNeighborsRegressor(3)])
def test_it_stands_in_front_of_an_estimator(task, frame, estimator):
    pipeline = make_pipeline(EmbeddingFeatures.of_task(task, scale=True), estimator)
    fitted = clone(pipeline).fit(frame, frame["price"])
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301
    np.testing.assert_array_equal(again.predict(frame), fitted.predict(frame))
    assert fitted.score(frame, frame["price"]) > 0.3
    assert not hasattr(pipeline[0], "tables_")


def test_scikit_learn_checks_that_apply(task):
    features = EmbeddingFeatures.of_task(task)
    for check in (
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_estimator_repr,
    ):
        check("EmbeddingFeatures", clone(features))
    assert clone(features).get_params().keys() == {"tables", "numbers", "fill", "scale"}


def test_it_says_what_it_gives(task, frame):
    features = EmbeddingFeatures.of_task(task)
    with pytest.raises(NotFittedError):
        features.transform(frame)
    with pytest.raises(NotFittedError):
        features.get_feature_names_out()
    assert features.fit(frame) is features
    assert features.n_features_in_ == frame.shape[1]
    assert list(features.feature_names_in_) == list(frame.columns)
    found = features.set_output(transform="pandas").transform(frame.iloc[:3, ::-1])
    assert found.shape == (3, len(features.get_feature_names_out()))
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        features.get_feature_names_out(["a"])


def test_numbers_are_filled_scaled_or_kept(task):
    tables = {"kind": made_up(["a", "b"])}
    train = pd.DataFrame({"kind": ["a", "b", None, "z"], "x": [1.0, 3.0, np.nan, np.inf], "c": [5, 5, 5, 5]})
    plain = EmbeddingFeatures(tables).fit(train)
    assert plain.numbers_ == ["x", "c"]
    assert plain.transform(train)["x"].tolist() == [1.0, 3.0, 2.0, 2.0]
    np.testing.assert_array_equal(
        plain.transform(train)[["kind v1", "kind v2", "kind v3"]].to_numpy(),
        tables["kind"].iloc[[2, 3, 1, 0], 1:].to_numpy(),
    )
    kept = EmbeddingFeatures(tables, fill="keep", numbers=["x"]).fit_transform(train)
    np.testing.assert_array_equal(kept["x"], [1.0, 3.0, np.nan, np.nan])
    scaled = EmbeddingFeatures(tables, scale=True).fit_transform(train)
    assert scaled["x"].mean() == pytest.approx(0)
    assert scaled["x"].std(ddof=0) == pytest.approx(1)
    assert scaled["c"].tolist() == [0.0] * 4
    new = pd.DataFrame({"kind": ["a"], "x": [None], "c": [7]})
    assert plain.transform(new)["x"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("frame", "options", "error", "message"),
    [
        (np.ones((3, 2)), {}, DataError, "names of columns.*ndarray.*a DataFrame"),
        (pd.DataFrame({"kin": ["a"]}), {}, DataError, "no column 'kind'.*did you mean 'kin'"),
        (pd.DataFrame({"kind": []}), {}, DataError, "no rows to fit"),
        (pd.DataFrame([["a", "b"]], columns=["kind", "kind"]), {}, DataError, "several columns 'kind'"),
        (pd.DataFrame({"kind": ["a"]}), {"fill": "mean"}, ConfigError, "unknown fill.*median, keep"),
        (pd.DataFrame({"kind": ["a"]}), {"numbers": ["x"]}, DataError, "no column 'x'"),
        (pd.DataFrame({"kind": ["a"]}), {"tables": {"kind": pd.DataFrame({"v1": [1]})}}, ConfigError, "is not one of"),
        (pd.DataFrame({"kind": ["a"]}), {"tables": {}}, ConfigError, "neither tables nor numbers"),
    ],
)
def test_what_cannot_be_transformed_is_refused(frame, options, error, message):
    with pytest.raises(error, match=message):
        EmbeddingFeatures(**{"tables": {"kind": made_up(["a"])}, **options}).fit(frame)


def test_hashed_columns_find_their_bucket():
    import tensorflow as tf

    from tlkit.inputs.row.columns import Categorical
    from tlkit.inputs.row.preprocessing import TablePreprocessing

    table = made_up([f"bucket {i}" for i in range(7)])
    table.attrs.update({"column": "kind", "hash_buckets": 7, "missing": ["?"]})
    rows = pd.DataFrame({"kind": ["a", "b", "ż", None, "?"]})
    found = EmbeddingFeatures({"kind": table}).fit_transform(rows)
    codes = TablePreprocessing((Categorical("kind", "kind", "string", hash_buckets=7),)).encode(
        {"kind": tf.constant(["a", "b", "ż", "", "?"])}
    )
    np.testing.assert_array_equal(found.to_numpy(), table.iloc[:, 1:].to_numpy()[codes.numpy()[:, 0].astype(int)])


# Maps


def test_a_map_is_the_principal_components():
    from sklearn.decomposition import PCA

    table = made_up([f"c{i}" for i in range(40)], 6)
    found = map_of(table)
    wanted = PCA(2).fit(table.iloc[2:, 1:])
    flat = wanted.transform(table.iloc[:, 1:])
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    drawn = np.linalg.norm(found.points[:, None] - found.points[None], axis=2)
    ratio = drawn[apart > 0] / apart[apart > 0]
    assert ratio == pytest.approx(ratio[0], rel=1e-3)
    assert found.explained == pytest.approx(wanted.explained_variance_ratio_, rel=1e-4)
    assert found.special[:3] == (True, True, False)


@pytest.mark.parametrize("count", [1, 2, 20, 58, 500])
def test_labels_do_not_cover_each_other(count):
    found = map_of(made_up([f"category {i}" for i in range(count)], 5))
    boxes = []
    for label in found.labels:
        if label.text:
            width = _width(label.text)
            left = label.x - {"start": 0, "middle": width / 2, "end": width}[label.anchor]
            boxes.append((left, label.y - 7, left + width, label.y + 7))
    boxes = np.array(boxes)
    assert len(boxes) == min(count + 2, 60) if count < 50 else len(boxes) > 30
    assert (_overlaps(boxes, boxes) == 1).all()
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (WIDTH, HEIGHT)).all()


def test_maps_of_odd_tables(tmp_path):
    for name, table in {
        "one dimension": made_up(["a", "b", "c"], 1),
        "all alike": made_up(["a", "b"], 2).assign(v1=np.float32(1), v2=np.float32(1)),
        "$x$ _y_": made_up(["$a$", "", "日本語" * 20, "\x00\n"], 4),
        "many": made_up([str(i) for i in range(5000)], 3),
    }.items():
        assert embedding_map(table, tmp_path / f"{len(name)}.png", title=name).stat().st_size > 5000
        assert np.isfinite(map_of(table).points).all()
    assert "3,000 points drawn" in map_of(made_up([str(i) for i in range(5000)], 3)).note
    with pytest.raises(DataError, match="a map needs categories"):
        map_of(made_up([], 3))
