"""Recommenders: reading ratings, vectors, lists, metrics, and what an export answers beside pairs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tlkit
from tlkit.cli.main import run
from tlkit.errors import ConfigError, DataError
from tlkit.export.manifest import Manifest
from tlkit.samples import ratings as sample
from tlkit.samples.registry import get
from tlkit.tasks.recommender import ranking
from tlkit.tasks.recommender.catalogue import lists_of, scores_of, vectors_of
from tlkit.tasks.recommender.commands import USUAL, usual_name
from tlkit.tasks.recommender.model import columns_of

SIDES = {"user": "who", "item": "what", "item_columns": ["genre"]}


def frame(rows=240, seed=0):
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 12, rows), rng.integers(0, 9, rows)
    stars = np.clip(np.round(2 * (3 + users % 3 - items % 3 + rng.normal(0, 0.3, rows))) / 2, 0.5, 5)
    return pd.DataFrame(
        {
            "who": [f"u{n}" for n in users],
            "what": [f"i{n}" for n in items],
            "stars": stars,
            "at": np.arange(rows)[::-1],
            "genre": [("a", "b", "c")[n % 3] for n in items],
            "age": 20 + users,
        }
    )


def read(table=None, **options):
    given = {"user": "who", "item": "what", "rating": "stars", "batch_size": 32} | options
    return tlkit.ratings_from_file(frame() if table is None else table, **given)


@pytest.fixture(scope="module")
def data():
    return read(item_columns=["genre"], user_columns=["age"])


def network(data, **options):
    entries = tlkit.catalogue_entries(data, **SIDES)
    given = {"factors": 4, "members": 2, "entries": entries} | options
    task = tlkit.recommender_model(data.preprocessing, data.targets, **SIDES, **given)
    if given["entries"]:
        tlkit.fill_catalogue(task, data)
    return task


@pytest.fixture(scope="module")
def learn(data):
    learn = tlkit.Learner(network(data), data)
    learn.fit(4, 0.05, verbose=False)
    return learn


# Reading


def test_of_repeated_ratings_the_newest_is_kept():
    table = pd.DataFrame(
        {"who": ["a", "a", "b", "b"], "what": ["x", "x", "x", "y"], "stars": [1.0, 5.0, 3.0, 2.0], "at": [9, 1, 2, 3]}
    )
    by_time, by_place = (read(table, time=time, val_fraction=0.4) for time in ("at", None))
    for data, kept in ((by_time, 1.0), (by_place, 5.0)):
        rows = pd.concat([data.frame(split) for split in data.splits])
        assert rows.loc[(rows["who"] == "a") & (rows["what"] == "x"), "stars"].tolist() == [kept]
        assert data.dropped["rated again later"] == 1


def test_users_and_items_with_few_ratings_are_left_out_until_none_is_left():
    table = pd.DataFrame(
        [(f"u{user}", f"i{item}", 1 + (user + item) % 5) for user in range(6) for item in range(6)]
        + [("lonely", "i0", 3), ("u0", "rare", 4)],
        columns=["who", "what", "stars"],
    )
    data = read(table, least_of_user=3, least_of_item=3)
    assert data.dropped["of a user or item with few ratings"] == 2
    with pytest.raises(DataError, match="no rating is left"):
        read(table, least_of_user=50)


def test_the_last_rating_of_each_user_is_held_out():
    table = frame().drop_duplicates(["who", "what"])
    data = read(table, time="at", split="last")
    held = data.frame("val")
    assert held["who"].is_unique
    newest = table.loc[table.groupby("who")["at"].idxmax()]
    assert set(zip(held["who"], held["what"], strict=True)) == set(zip(newest["who"], newest["what"], strict=True))


def test_users_are_held_out_whole():
    data = read(split="user", val_fraction=0.3)
    assert not set(data.frame("train")["who"]) & set(data.frame("val")["who"])


def test_answers_may_leave_the_range_by_a_tenth(data):
    target = data.targets[0]
    assert (target.low, target.high) == (pytest.approx(0.05), pytest.approx(5.45))
    wider = read(rating_range=[0, 10]).targets[0]
    assert (wider.low, wider.high) == (-1, 11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "nobody"}, "nobody"),
        ({"split": "newest"}, "split"),
        ({"item": "who"}, "named twice"),
        ({"least_of_user": 0}, "least_of_user"),
        ({"rating_range": [3, 1]}, "rating_range"),
        ({"rating_range": [1, 5]}, "outside of the range: data row"),
        ({"rating": "genre"}, "genre"),
    ],
)
def test_what_cannot_be_read_is_refused(options, message):
    with pytest.raises((ConfigError, DataError), match=message):
        read(**options)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("who", "u1", "single value"), ("stars", 3.0, "the same"), ("at", "soon", "cannot be read|date")],
)
def test_columns_that_say_nothing_are_refused(column, value, message):
    with pytest.raises(DataError, match=message):
        read(frame().assign(**{column: value}), time="at")


def test_rows_without_a_user_or_an_item_are_counted():
    table = frame().drop_duplicates(["who", "what"]).astype({"who": object})
    table.iloc[:3, 0] = None
    assert read(table).dropped["no user or item"] == 3


# The network


def test_biases_and_vectors_make_the_score(data):
    task = network(data)
    vectors = vectors_of(task)
    rows = data.encoded("train")[:20]
    users, items = rows[:, 0].astype(int), rows[:, 1].astype(int)
    pairs = scores_of(task, vectors.users[users], vectors.items[items]).diagonal()
    np.testing.assert_allclose(pairs, task.model(rows, training=False)[:, 0], atol=1e-5)


def test_before_training_the_answer_is_the_mean_rating(data):
    task = network(data)
    answers = task.objective.probabilities(task.model(data.encoded("val"), training=False)).numpy()
    assert answers.mean() == pytest.approx(data.labels("train").mean(), abs=0.02)


def test_members_are_trained_apart_and_averaged(data):
    task = network(data)
    rows = data.encoded("val")[:5]
    apart = task.model(rows, training=True).numpy()
    assert apart.shape == (5, 2, 1)
    np.testing.assert_allclose(apart.mean(1), task.model(rows, training=False), atol=1e-6)
    assert not np.allclose(apart[:, 0], apart[:, 1])


def test_an_unknown_item_is_placed_by_its_columns(learn):
    """A new item of a genre gets what is known of the genre."""
    rows = learn.data.encoded("val")[:1].repeat(3, 0)
    rows[:, 1] = 0  # unknown
    rows[:, 2] = [2, 3, 4]  # genres
    answers = learn.task.model(rows, training=False).numpy()[:, 0]
    assert np.ptp(answers) > 0.01


def test_what_a_network_was_built_with_is_read_from_it(data):
    found = columns_of(network(data, hidden=[8]))
    assert {key: found[key] for key in SIDES} == SIDES
    assert (found["factors"], found["members"], found["hidden"]) == (4, 2, [8])
    assert found["entries"] == len(data.labels("train"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": 0}, "factors"),
        ({"members": 65}, "members"),
        ({"hidden": [1]}, "hidden"),
        ({"dropout": 1}, "dropout"),
    ],
)
def test_bad_sizes_are_refused(data, options, message):
    with pytest.raises(ConfigError, match=message):
        network(data, **options)


def test_bad_columns_are_refused(data):
    for sides in ({"user": "whom", "item": "what"}, {"user": "what", "item": "what"}, {"user": "age", "item": "what"}):
        with pytest.raises(ConfigError, match="column"):
            tlkit.recommender_model(data.preprocessing, data.targets, **sides)


# Lists


def test_metrics_of_lists_by_hand():
    """Two users, four items: the first user's held-out item comes second, the other's is not in the list."""
    train = lists_of(np.array([2, 3]), np.array([2, 3]), 4)
    held = lists_of(np.array([2, 3]), np.array([4, 5]), 4)
    pairs = ranking.Pairs(4, 6, train, held, np.zeros(4, int))
    scores = np.array([[0, 0, 9, 3, 2, 1], [0, 0, 9, 9, 8, 1]], float)
    found = ranking.ranking_metrics(lambda users: scores[users - 2].copy(), pairs, k=2)
    assert found.recall == 0.5
    assert found.mrr == 0.25
    assert found.ndcg == pytest.approx(0.5 / np.log2(3))
    assert found.coverage == 0.75  # items 2 and 4, and 3
    assert found.users == 2


def test_items_that_a_user_has_are_not_listed(learn):
    pairs = ranking.pairs_of(learn.task, learn.data)
    scores = ranking.model_scores(learn.task)(np.arange(pairs.users)).astype(float)
    top = ranking.top_items(scores, np.arange(pairs.users), pairs.train, 3)
    for user in range(pairs.users):
        assert not np.isin(top[user], pairs.train.items[pairs.train.begins[user] : pairs.train.begins[user + 1]]).any()


def test_held_out_items_that_are_unknown_count_as_missed():
    train = lists_of(np.array([2]), np.array([2]), 3)
    pairs = ranking.Pairs(3, 4, train, lists_of(np.array([2]), np.array([3]), 3), np.array([0, 0, 1]))
    found = ranking.ranking_metrics(lambda users: np.zeros((len(users), 4)), pairs, k=2)
    assert (found.recall, found.unknown_items) == (0.5, 1)


def test_item_knn_finds_what_similar_users_took():
    users, items = np.array([2, 2, 3, 3, 4, 5, 5]), np.array([2, 3, 2, 3, 2, 4, 5])
    pairs = ranking.Pairs(6, 6, lists_of(users, items, 6), lists_of(users[:0], items[:0], 6), np.zeros(6, int))
    scores = ranking.item_knn_scores(pairs, shrink=0)(np.array([4]))[0]
    assert scores[3] == pytest.approx(2 / np.sqrt(3 * 2))
    assert scores[4] == scores[5] == 0


def test_the_bias_model_is_between_mean_and_truth(data):
    answers = ranking.bias_ratings(data, 0, 1, "val")
    truth = data.labels("val").reshape(-1)
    assert np.mean((answers - truth) ** 2) < np.var(truth)


def test_both_kinds_of_metrics_are_plain_data(learn):
    found = tlkit.measure_ratings(learn, k=3)
    plain = json.loads(json.dumps(found.to_dict()))
    assert {"rmse", "mae", "recall_at_3", "ndcg_at_3", "coverage"} <= plain["metrics"].keys()
    assert "nDCG@3" in str(found)


def test_lists_keep_the_last_items_of_a_user():
    found = lists_of(np.array([1, 0, 1, 1]), np.array([5, 6, 7, 8]), 2, most=2)
    assert found.begins.tolist() == [0, 1, 3]
    assert found.items.tolist() == [6, 7, 8]


# The export


@pytest.fixture(scope="module")
def version(learn, tmp_path_factory):
    """An export that passed every check."""
    return learn.export(tmp_path_factory.mktemp("exports") / "films")


@pytest.fixture(scope="module")
def signatures(version):
    return tf.saved_model.load(str(version)).signatures


def asked(signatures, users, k, exclude=True):
    count = len(users)
    return signatures["recommend"](
        who=tf.constant(users), k=tf.constant([k] * count), exclude=tf.constant([exclude] * count)
    )


def test_recommendations_are_the_best_pairs(learn, signatures):
    """Scores are what serving_default answers for these pairs."""
    found = asked(signatures, ["u3"], 4, exclude=False)
    items = [item.decode() for item in found["items"].numpy()[0]]
    genres = dict(zip(frame()["what"], frame()["genre"], strict=True))
    dtype = signatures["serving_default"].structured_input_signature[1]["age"].dtype
    every = sorted(genres)
    ratings = signatures["serving_default"](
        who=tf.constant(["u3"] * len(every)),
        what=tf.constant(every),
        genre=tf.constant([genres[item] for item in every]),
        age=tf.constant([23] * len(every), dtype),
    )["stars"].numpy()
    best = [every[place] for place in np.argsort(-ratings)[:4]]
    assert items == best
    np.testing.assert_allclose(found["scores"].numpy()[0], np.sort(ratings)[::-1][:4], rtol=1e-5)


def test_what_a_user_has_is_left_out_on_request(data, signatures):
    train = data.frame("train")
    own = set(train.loc[train["who"] == "u3", "what"])
    found = [item.decode() for item in asked(signatures, ["u3"], 9)["items"].numpy()[0]]
    assert not own & set(found)
    assert len(set(found) - {""}) == 9 - len(own)
    assert found[-len(own) :] == [""] * len(own)


def test_rows_may_ask_for_different_numbers(signatures):
    found = signatures["recommend"](
        who=tf.constant(["u1", "nobody"]), k=tf.constant([1, 3]), exclude=tf.constant([False, True])
    )
    items = found["items"].numpy()
    assert items.shape == (2, 3)
    assert items[0, 1:].tolist() == [b"", b""]
    assert b"" not in items[1]  # someone new gets items, too


def test_similar_items_do_not_hold_the_item_itself(signatures):
    found = signatures["similar"](what=tf.constant(["i1", "never seen"]), k=tf.constant([3, 3]))
    first = found["items"].numpy()
    assert b"i1" not in first[0]
    assert np.all(np.diff(found["scores"].numpy()[0]) <= 0)
    assert first[1].tolist() == [b"", b"", b""]


@pytest.mark.parametrize("k", [0, -1, 10])
def test_a_number_of_items_that_there_is_not_is_refused(signatures, k):
    with pytest.raises(tf.errors.InvalidArgumentError, match="k must be 1 to 9"):
        asked(signatures, ["u1"], k)


def test_the_manifest_holds_examples_that_verify_compares(version, capfd):
    manifest = Manifest.read(version)
    assert set(manifest.queries) == {"recommend", "similar"}
    assert run(["verify", str(version), "--json"]) == 0
    changed = json.loads((version / "manifest.json").read_text(encoding="utf-8"))
    changed["queries"]["recommend"]["outputs"]["scores"][0][0] += 0.01
    copy = version.parent / "changed"
    shutil.copytree(version, copy / "1", dirs_exist_ok=True)
    (copy / "1" / "manifest.json").write_text(json.dumps(changed), encoding="utf-8")
    capfd.readouterr()
    assert run(["verify", str(copy / "1"), "--json"]) == 1
    failed = [check for check in json.loads(capfd.readouterr().out)["checks"] if not check["ok"]]
    assert [check["name"] for check in failed] == ["golden_parity"]
    assert "recommend: scores differ" in failed[0]["reason"]


def test_commands_ask_the_export(version, capfd):
    assert run(["recommend", "u1", "u2", "-k", "2", "--export", str(version), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert [row["input"] for row in found] == ["u1", "u2"]
    assert run(["similar", "i1", "-k", "2", "--export", str(version)]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 3
    assert run(["recommend", "u1", "-k", "500", "--export", str(version)]) == 2
    assert "-k is out of range; received: 500; allowed: 1 to 9" in capfd.readouterr().err


def test_dense_layers_take_part_in_recommendations(data):
    from tlkit.tasks.recommender.queries import queries_of

    task = network(data, hidden=[8])
    tlkit.Learner(task, data).fit(2, 0.05, verbose=False)
    query = queries_of(task)["recommend"]
    found = query.answer({"who": tf.constant(["u3"]), "k": tf.constant([9]), "exclude": tf.constant([False])})
    rows = np.stack([data.encoded("train")[0]] * 9)
    rows[:, 0] = next(code.labels for code in data.preprocessing.codes if code.name == "who").index("u3")
    rows[:, [1, 2]] = [[code, 2 + int(name[1:]) % 3] for code, name in enumerate(
        next(code.labels for code in data.preprocessing.codes if code.name == "what")[2:], 2)]  # fmt: skip
    rows[:, 3:] = np.asarray(task.features.get_layer("catalogue").user_rows)[int(rows[0, 0]), 1:]
    answers = task.objective.probabilities(task.model(rows, training=False)).numpy()[:, 0]
    np.testing.assert_allclose(found["scores"].numpy()[0], np.sort(answers)[::-1], rtol=1e-5)


def test_a_network_without_lists_has_no_such_signatures(data):
    from tlkit.tasks.recommender.queries import queries_of

    assert queries_of(network(data, entries=0)) == {}


def test_a_catalogue_of_other_data_is_refused(data):
    with pytest.raises(ConfigError, match="another number of ratings"):
        tlkit.fill_catalogue(network(data, entries=7), data)


# The sample, and the columns that tlkit new finds


def test_usual_names_of_columns_are_found():
    names = ["userId", "Movie_ID", "rating", "timestamp"]
    assert [usual_name(usual, names) for usual in USUAL.values()] == names
    assert usual_name(USUAL["user"], ["buyer"]) is None


def test_the_sample_is_what_it_says(tmp_path):
    folder = get("ratings", tmp_path / "ratings")
    found, books = pd.read_csv(folder / "ratings.csv"), pd.read_csv(folder / "books.csv")
    assert len(found) == sample.RATINGS
    assert found["book"].isin(books["book"]).all()
    assert not found.duplicated(["user", "book"]).any()
    assert found["rating"].between(0.5, 5).all()
    pd.testing.assert_frame_equal(found, pd.read_csv(get("ratings", tmp_path / "again") / "ratings.csv"))


def test_new_finds_the_columns_and_says_which_are_missing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    table = frame().rename(columns={"who": "userId", "what": "movieId", "stars": "rating", "at": "timestamp"})
    table.to_csv("ratings.csv", index=False)
    assert run(["new", "recommender", "films", "--data", "ratings.csv"]) == 0
    text = (tmp_path / "films" / "config.toml").read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in ("userId", "movieId", "rating", "timestamp"))
    table.drop(columns="movieId").to_csv("few.csv", index=False)
    capfd.readouterr()
    assert run(["new", "recommender", "less", "--data", "few.csv"]) == 2
    assert "no column 'item'" in capfd.readouterr().err
    assert not (tmp_path / "less").exists()
