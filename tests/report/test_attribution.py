from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf
import tiny_text
from tiny_text import tiny_tokenizer

from tlkit.errors import ConfigError, DataError, ModelError
from tlkit.inputs.text.preprocessing import TextPreprocessing
from tlkit.models.task import LayerGroup, Task
from tlkit.tasks.text_classification import attribution
from tlkit.tasks.text_classification.attribution import attribute
from tlkit.tasks.text_classification.wordpieces import pieces_of

# Building one takes longer than asking it.
tiny_text_task = functools.cache(tiny_text.tiny_text_task)

TEXTS = ["The Film was great!", "a dull plot", "", "I loved it, but the movie was very very very very long."]


class OneGraph(attribution._Embeddings):
    """Builds its graph once for a model in a precision; that of an encoder takes most of a second."""

    made: ClassVar[dict] = {}

    def __init__(self, task, preprocessing, baseline):
        key = id(task.model), id(preprocessing), baseline, tuple(one.dtype_policy.name for one in task.backbone.layers)
        if key not in self.made:
            super().__init__(task, preprocessing, baseline)
            self.made[key] = task, preprocessing, dict(vars(self))  # kept, so that no other gets their ids
        vars(self).update(self.made[key][-1])


@pytest.fixture(autouse=True)
def _one_graph(monkeypatch):
    monkeypatch.setattr(attribution, "_Embeddings", OneGraph)


@pytest.fixture(scope="module")
def task():
    return tiny_text_task(max_tokens=16)


def algebraic_task(power):
    """A task whose logits are W times the sum of all token embeddings, to a power: integrals known in closed form."""
    import keras

    keras.utils.set_random_seed(3)
    preprocessing = TextPreprocessing(tiny_tokenizer(), max_tokens=32)
    ids = keras.Input((None,), dtype="int32")
    embedding = keras.layers.Embedding(preprocessing.vocabulary_size, 5, embeddings_initializer="normal")
    embedding.name = "token_embedding"
    backbone = keras.Model(ids, embedding(ids))
    features = keras.Model(ids, keras.ops.sum(backbone(ids), axis=1))
    vector = keras.Input((5,))
    dense = keras.layers.Dense(3, name="logits")
    head = keras.Model(vector, dense(vector) ** power)
    return Task(
        kind="text_classification",
        model=keras.Model(ids, head(features(ids))),
        features=features,
        head=head,
        backbone=backbone,
        preprocessing=preprocessing,
        class_names=("x", "y", "z"),
        groups=(LayerGroup("embeddings", (embedding,)), LayerGroup("head", (head,))),
        backbone_name="algebraic",
        weights_source="none",
    )


def parts_of(task, text, target):
    """What each ordinary token moves the sum by, and the sum before and after, all along W[:, target]."""
    table = task.groups[0].layers[0].embeddings.numpy().astype(np.float64)
    kernel, bias = (w.numpy().astype(np.float64) for w in task.head.get_layer("logits").weights)
    ids = task.preprocessing.batch([text]).numpy()[0]
    moved = (table[ids[1:-1]] - table[task.preprocessing.pad_id]) @ kernel[:, target]
    after = table[ids].sum(axis=0) @ kernel[:, target] + bias[target]
    return moved, after - moved.sum(), after


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_linear_model_is_explained_exactly(steps):
    task = algebraic_task(1)
    [found] = attribute(task, ["the film was great"], target=2, steps=steps)
    moved, before, after = parts_of(task, "the film was great", 2)
    assert [piece.value for piece in found.pieces] == pytest.approx(moved, rel=1e-5)
    assert found.difference == pytest.approx(after - before, rel=1e-4)
    assert abs(found.gap) < 1e-6


@pytest.mark.parametrize(("power", "steps"), [(2, 1), (2, 3), (4, 2), (4, 32)])
def test_n_steps_are_exact_for_a_polynomial_up_to_twice_their_number(power, steps):
    task = algebraic_task(power)
    [found] = attribute(task, ["a dull plot"], target=1, steps=steps)
    moved, before, after = parts_of(task, "a dull plot", 1)
    wanted = moved * (after**power - before**power) / moved.sum()
    assert [piece.value for piece in found.pieces] == pytest.approx(wanted, rel=1e-3, abs=1e-7)


def test_the_gap_of_an_encoder_is_small_and_shrinks(task):
    few, many = attribute(task, TEXTS, steps=2), attribute(task, TEXTS, steps=32)
    for coarse, fine in zip(few, many, strict=True):
        assert abs(fine.gap) < 1e-4
        assert sum(piece.value for piece in fine.pieces) == pytest.approx(fine.difference + fine.gap, abs=1e-6)
        assert abs(coarse.gap) >= abs(fine.gap) - 1e-5
    assert max(abs(one.gap) for one in few) > 1e-3


def test_it_explains_the_class_that_the_model_names(task):
    found = attribute(task, TEXTS)
    chances = task.objective.probabilities(task.model(task.preprocessing.batch(TEXTS))).numpy()
    assert [one.target for one in found] == chances.argmax(axis=1).tolist()
    assert [one.class_name for one in found] == [task.class_names[one.target] for one in found]
    assert [one.probability for one in found] == pytest.approx(chances.max(axis=1), abs=1e-5)
    other = attribute(task, TEXTS, target=[1 - one.target for one in found], steps=4)
    assert [one.probability for one in other] == pytest.approx(chances.min(axis=1), abs=1e-5)
    assert attribute(task, TEXTS[:1], target=0, steps=1)[0].target == 0


def test_the_difference_is_that_of_two_logits(task):
    ids = task.preprocessing.batch(["a dull plot"]).numpy()
    [found] = attribute(task, ["a dull plot"], target=1, baseline="mask")
    masked = tf.constant([[ids[0, 0], *[task.preprocessing.tokenizer.mask_token_id] * 3, ids[0, -1]]])
    wanted = task.model(ids)[0, 1] - task.model(masked)[0, 1]
    assert found.difference == pytest.approx(float(wanted), abs=1e-5)


def test_baselines_differ_and_each_adds_up(task):
    by_name = {name: attribute(task, TEXTS[:1], target=1, baseline=name)[0] for name in ("pad", "mask", "zero")}
    assert len({round(one.difference, 4) for one in by_name.values()}) == 3
    assert all(abs(one.gap) < 1e-4 for one in by_name.values())


def test_the_bound_on_memory_changes_nothing(task, monkeypatch):
    whole = attribute(task, TEXTS[:2])
    sizes = []
    original = attribution._Embeddings.gradient

    def spy(self, ids, points, target):
        sizes.append(points.shape[0] * points.shape[1])
        return original(self, ids, points, target)

    monkeypatch.setattr(attribution._Embeddings, "gradient", spy)
    monkeypatch.setattr(attribution, "TOKENS_AT_ONCE", 20)
    parts = attribute(task, TEXTS[:2])
    assert max(sizes) <= 20
    assert len(sizes) > 10
    for one, other in zip(whole, parts, strict=True):
        assert [p.value for p in one.pieces] == pytest.approx([p.value for p in other.pieces], abs=1e-5)


@pytest.mark.parametrize("long_texts", [pytest.param("head", marks=pytest.mark.real), "head_tail", "windows"])
def test_long_texts_are_explained_as_far_as_they_are_read(long_texts):
    task = tiny_text_task(max_tokens=8, long_texts=long_texts)
    text = "The film was very good and the plot is not boring but I hated it."
    [found] = attribute(task, [text])
    assert "".join(piece.text for piece in found.pieces) == text
    unread = [piece.text for piece in found.pieces if not piece.read]
    assert (
        unread
        == {
            "head": ["the plot is not boring but I hated it."],
            "head_tail": ["film was very good and the plot is not boring "],
            "windows": [],
        }[long_texts]
    )
    assert abs(found.gap) < 1e-4
    assert all(piece.value for piece in found.pieces if piece.read)


def test_several_labels_have_a_sigmoid():
    task = tiny_text_task(multi_label=True)
    [found] = attribute(task, TEXTS[:1], target=0)
    logit = float(task.model(task.preprocessing.batch(TEXTS[:1]))[0, 0])
    assert found.probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)


def test_it_works_in_lower_precision():
    task = tiny_text.tiny_text_task()
    [exact] = attribute(task, TEXTS[:1], target=1)
    task.set_precision("mixed_bfloat16")
    [rough] = attribute(task, TEXTS[:1], target=1)
    assert rough.difference == pytest.approx(exact.difference, abs=0.3)
    assert [p.value for p in rough.pieces] == pytest.approx([p.value for p in exact.pieces], abs=0.3)


# The model stays as it was


def layer_of(task):
    return attribution._embedding_layer(task)


def test_the_model_is_as_before(task):
    ids = task.preprocessing.batch(TEXTS)
    before, state = task.model(ids).numpy(), set(vars(layer_of(task)))
    attribute(task, TEXTS, steps=3)
    assert set(vars(layer_of(task))) == state
    assert task.model(ids).numpy().tolist() == before.tolist()
    assert task.model.predict(ids, verbose=0) == pytest.approx(before, abs=1e-5)


@pytest.mark.parametrize("patched", [False, True])
def test_the_layer_is_put_back_when_the_model_fails(patched, monkeypatch):
    task = tiny_text_task()
    layer = layer_of(task)
    own = layer.call
    if patched:
        vars(layer)["call"] = own
    seen = []

    def fail(*args, **kwargs):
        seen.append(layer.call)
        raise RuntimeError("out of luck")

    monkeypatch.setattr(task.head.get_layer("logits"), "call", fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        attribute(task, TEXTS[:1])
    assert seen[0] != own  # it was replaced
    assert ("call" in vars(layer)) == patched
    assert layer.call == own


# Words


def test_words_are_those_of_the_text():
    words = {
        "The Film was great!": ["The ", "Film ", "was ", "great", "!"],
        "Á  DÙLL\nplot…": ["Á  ", "DÙLL\n", "plot", "…"],
        "good,film 电影 x😀y good": ["good", ",", "film ", "电", "影 ", "x😀y ", "good"],
        "no\x00w \u200bgood": ["no\x00w \u200b", "good"],
        "סרט טוב!": ["סרט ", "טוב", "!"],
        "x" * 150 + " good": ["x" * 150 + " ", "good"],
        "   ": [],
        "": [],
    }
    found = attribute(tiny_text_task(max_tokens=32), list(words), steps=1)
    assert [[piece.text for piece in one.pieces] for one in found] == list(words.values())
    assert all(piece.read for one in found for piece in one.pieces)


def test_markup_that_was_taken_out_is_not_read():
    task = tiny_text_task(max_tokens=32, strip_html=True)
    text = "A <b>Film</b>!<br /><!-- x -->Not&nbsp;good &amp; a &lt; dull"
    [found] = attribute(task, [text], steps=1)
    assert "".join(piece.text for piece in found.pieces) == text
    assert [p.text for p in found.pieces if not p.read] == ["<b>", "</b>", "<br /><!-- x -->"]
    read = [p.text.strip() for p in found.pieces if p.read]
    assert read == ["A", "Film", "!", "Not&nbsp;", "good", "&amp;", "a", "&lt;", "dull"]
    short = "A <b>film &lt;"
    [plain] = attribute(tiny_text_task(max_tokens=32), [short], steps=1)
    assert [p.text for p in plain.pieces] == ["A ", "<", "b", ">", "film ", "&", "lt", ";"]


def test_values_of_a_word_are_those_of_its_tokens():
    tokenizer = tiny_tokenizer()
    ids = [int(i) for i in tokenizer.tokenize("not long, film")]
    pieces = pieces_of("Not long, film", ids, range(len(ids)), tokenizer)
    assert [(p.text, p.value) for p in pieces] == [("Not ", 0), ("long", 1 + 2 + 3 + 4), (", ", 5), ("film", 6)]


def test_a_word_that_is_not_in_the_text_is_shown_as_its_tokens():
    tokenizer = tiny_tokenizer()
    ids = [int(i) for i in tokenizer.tokenize("not awful film")]
    pieces = pieces_of("Not *#~ film", ids, [1, 2, 3], tokenizer)
    assert [(p.text, p.value) for p in pieces] == [("Not ", 1), ("awful ", 2), ("film", 3)]
    assert [p.text for p in pieces_of("nothing alike", ids, [1, 2, 3], tokenizer)] == ["not ", "awful ", "film "]


def test_sentence_pieces_are_joined_to_words_but_not_in_scripts_without_spaces():
    class TinySentencePieceTokenizer:
        tokens = ("▁What", "▁a", "▁un", "able", ",", "▁", "Film", "!", "▁电影", "好", "看")

        def id_to_token(self, number):
            return self.tokens[number]

    pieces = pieces_of("What a unable,  Film! 电影好看", range(11), np.ones(11), TinySentencePieceTokenizer())
    assert [(p.text, p.value) for p in pieces] == [
        ("What ", 1), ("a ", 1), ("unable", 2), (",  ", 1), ("Film", 2), ("! ", 1), ("电影", 1), ("好", 1), ("看", 1)
    ]  # fmt: skip


def test_bytes_are_joined_to_characters():
    import keras_hub

    tokens = ["What", "Ġ", "Ġfil", "m", "!", "Ġna", "Ã", "¯", "ve", "f", "i", "fi"]
    tokenizer = keras_hub.tokenizers.BytePairTokenizer({token: i for i, token in enumerate(tokens)}, ["f i"])
    pieces = pieces_of("What film! naïve", [0, 2, 3, 4, 5, 6, 7, 8], np.ones(8), tokenizer)
    assert [(p.text, p.value) for p in pieces] == [("What ", 1), ("film", 2), ("! ", 1), ("naïve", 4)]


def test_the_strongest_words(task):
    [found] = attribute(task, ["The film was great!"], steps=4)
    values = [abs(piece.value) for piece in found.strongest(3)]
    assert values == sorted((abs(piece.value) for piece in found.pieces), reverse=True)[:3]
    assert all(piece.read for piece in attribute(task, ["film " * 40], steps=1)[0].strongest(50))


# Bad input


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"baseline": "noise"}, ConfigError, r"unknown baseline.*'noise'.*pad, mask, zero"),
        ({"steps": 0}, ConfigError, r"steps is invalid.*0.*1 or more"),
        ({"steps": 2.5}, ConfigError, "steps is invalid"),
        ({"target": 2}, ConfigError, r"invalid class number.*2.*0 to 1"),
        ({"target": -1}, ConfigError, "invalid class number"),
        ({"target": True}, ConfigError, "invalid class number"),
        ({"target": [0, 1, 0]}, ConfigError, r"one class per text.*3.*1"),
        ({"texts": "one text"}, DataError, "list of strings"),
        ({"texts": ["fine", 3.5]}, DataError, r"text number 1 is not a string.*float"),
    ],
)
def test_what_cannot_be_explained(task, options, error, says):
    with pytest.raises(error, match=says):
        attribute(task, **{"texts": ["a film"], **options})


def test_no_texts_no_attributions(task):
    assert attribute(task, []) == []
    assert attribute(task, [], target=[]) == []


def test_half_a_surrogate_is_no_obstacle(task):
    assert attribute(task, ["bad \ud83d film"], steps=1)[0].text == "bad ? film"


def test_an_image_task_is_refused():
    from tiny import tiny_task

    with pytest.raises(ModelError, match=r"need a text model.*image_classification.*text_classification"):
        attribute(tiny_task(), ["a film"])


def test_a_backbone_without_token_embeddings_is_refused(task):
    with pytest.raises(ModelError, match="no layer token_embedding"):
        attribute(dataclasses.replace(task, backbone=task.head), ["a film"])


def test_a_model_that_reads_its_tokens_elsewhere_is_refused(task):
    other = tiny_text_task(seed=5)
    with pytest.raises(ModelError, match="the model does not look up its tokens in the layer"):
        attribute(dataclasses.replace(task, model=other.model), ["a film"])


def test_a_model_that_moves_its_tokens_is_refused(task):
    import keras

    ids = keras.Input((None,), dtype="int32")
    turned = keras.Model(ids, task.model(ids[:, ::-1]))
    with pytest.raises(ModelError, match="rearranges its tokens"):
        attribute(dataclasses.replace(task, model=turned), ["a film"])
    assert "call" not in vars(layer_of(task))


def test_a_tokenizer_without_a_mask_cannot_give_that_baseline(task):
    class Unmasked:
        def __init__(self, inner):
            self._inner = inner

        def __getattr__(self, name):
            if name == "mask_token_id":
                raise AttributeError(name)
            return getattr(self._inner, name)

    preprocessing = dataclasses.replace(task.preprocessing, tokenizer=Unmasked(task.preprocessing.tokenizer))
    with pytest.raises(ConfigError, match=r"no mask token.*pad, zero"):
        attribute(dataclasses.replace(task, preprocessing=preprocessing), ["a film"], baseline="mask")
