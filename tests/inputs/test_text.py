"""Texts to token ids: the graph against a Python tokenizer of another make, windows against plain Python."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_text import tiny_tokenizer
from tokenizers import BertWordPieceTokenizer

from tlkit.errors import ConfigError
from tlkit.inputs.text.preprocessing import TextPreprocessing

TORTURE = {
    "empty": "",
    "spaces": " \t\r\n ",
    "accents": "Café naïve ÉCOLE über Ångström",
    "combining marks": "e\u0301a\u0300 n\u0303 x\u0337y",
    "emoji": "good 😀 film 👨‍👩‍👧 ok 🇪🇺",
    "cjk": "日本語のテキスト 中文電影",
    "hangul": "한국어 텍스트",
    "right to left": "שלום עולם مرحبا بالعالم",
    "cyrillic": "привет Мир",
    "ligature": "ﬁne ½ ①",
    "controls": "a\x00b\x07c\u200bd\ufefffilm",
    "punctuation": "don't... (very) good!? <b>5 < 6</b> & co",
    "one long word": "good" * 60,
    "100,000 characters": "x" * 100_000,
    "many words": "a film. " * 12_500,
}


@pytest.fixture(scope="module")
def preprocessing():
    return TextPreprocessing(tiny_tokenizer(), max_tokens=64)


@pytest.fixture(scope="module")
def oracle(preprocessing):
    """Hugging Face's own implementation, on the same vocabulary."""
    vocabulary = {token: number for number, token in enumerate(preprocessing.tokenizer.get_vocabulary())}
    return BertWordPieceTokenizer(vocabulary, lowercase=True)


def expected(oracle, text, limit):
    ids = oracle.encode(text).ids
    return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]


@pytest.mark.parametrize("what", TORTURE)
def test_the_graph_splits_as_hugging_face_does(what, preprocessing, oracle):
    text = TORTURE[what]
    assert preprocessing.ragged([text]).to_list()[0] == expected(oracle, text, 64)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co", "Zl", "Zp")), max_size=30), max_size=4)
)
def test_any_text_is_split_as_hugging_face_does(preprocessing, oracle, texts):
    # Marks with a case or a compatibility form of their own are where case folding differs between Unicode versions.
    plain = ["".join(c for c in text if c.lower() == c.casefold() and len(c.lower()) == 1) for text in texts]
    # What was assigned lately is punctuation to one table of Unicode and not yet to the other.
    plain = [text for text in plain if all(unicodedata.ucd_3_2_0.category(c) != "Cn" for c in text)]
    plain = [text.replace("[", "(") for text in plain]  # theirs lets a text name special tokens, ours does not
    assert preprocessing.ragged(tf.constant(plain, tf.string)).to_list() == [
        expected(oracle, text, 64) for text in plain
    ]


def test_a_text_cannot_name_special_tokens(preprocessing):
    ids = preprocessing.ragged(["good [SEP] [PAD] [MASK] film"]).to_list()[0]
    assert ids.count(preprocessing.end_id) == 1
    assert preprocessing.pad_id not in ids
    assert preprocessing.tokenizer.mask_token_id not in ids


def test_bytes_that_are_no_utf8_are_dropped(preprocessing):
    good = preprocessing.ragged(["a film"]).to_list()
    assert preprocessing.ragged(tf.constant([b"a \xff\xfe film\x80"])).to_list() == good
    assert preprocessing.ragged(tf.constant([b"\xf0\x9f"])).to_list() == preprocessing.ragged([""]).to_list()


@pytest.mark.parametrize(
    "newline", ["\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029", "\u3000"]
)
def test_every_kind_of_line_break_parts_words(preprocessing, newline):
    assert preprocessing.ragged([f"good{newline}film"]).to_list() == preprocessing.ragged(["good film"]).to_list()


def test_html_is_taken_out_when_asked_for():
    strip = TextPreprocessing(tiny_tokenizer(), strip_html=True)
    text = "a<br /><BR>good <!-- bad > --> <p class='x'>film</p>&nbsp;&amp; 5 < 6 > 4 &LT;b"
    assert strip.clean([text]).numpy()[0].decode() == "a good film & 5 < 6 > 4 <b"
    assert b"<br" in TextPreprocessing(tiny_tokenizer()).clean([text]).numpy()[0]


def test_a_huge_text_is_read_at_both_ends(preprocessing):
    huge = "good " + "x" * 30_000_000 + " film"
    tail = TextPreprocessing(tiny_tokenizer(), max_tokens=8, long_texts="head_tail")
    ids = tail.ragged([huge]).to_list()[0]
    words = [tail.tokenizer.id_to_token(number) for number in ids]
    assert (words[1], words[-2]) == ("good", "film")


def pieces(ids, mode, limit, most):
    """The same in plain Python."""
    body = limit - 2
    if mode == "head":
        ids = ids[:body]
    elif mode == "head_tail" and len(ids) > body:
        ids = [*ids[: body // 4], *ids[len(ids) - (body - body // 4) :]]
    elif mode == "windows":
        ids = ids[: body * most]
    parts = [ids[start : start + body] for start in range(0, len(ids), body)] or [[]]
    return [number for part in parts for number in [2, *part, 3]]


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    limit=st.integers(4, 12),
    mode=st.sampled_from(["head", "head_tail", "windows"]),
)
def test_long_texts_are_cut_and_framed_as_in_plain_python(lengths, limit, mode):
    tokenizer = TOKENIZER
    words = ["a", "the", "film", "movie", "was", "is", "not", "very", "good", "great"]
    texts = [" ".join(words[(7 * i) % 10] for i in range(length)) for length in lengths]
    one = TextPreprocessing(tokenizer, max_tokens=limit, long_texts=mode, max_windows=3)
    ids = [[tokenizer.token_to_id(word) for word in text.split()] for text in texts]
    want = [pieces(part, mode, limit, 3) for part in ids]
    assert one.ragged(texts).to_list() == want
    batch = one.batch(texts).numpy()
    longest = max(map(len, want))
    assert batch.shape[1] == (longest if longest <= limit else -(-longest // limit) * limit)
    for row, one_text in zip(batch, want, strict=True):
        np.testing.assert_array_equal(row, one_text + [0] * (len(row) - len(one_text)))


TOKENIZER = tiny_tokenizer()


def test_equality_is_that_of_the_settings_and_the_vocabulary(preprocessing):
    assert preprocessing == TextPreprocessing(tiny_tokenizer(), max_tokens=64)
    assert preprocessing != TextPreprocessing(tiny_tokenizer(), max_tokens=63)
    assert preprocessing != TextPreprocessing(tiny_tokenizer(), max_tokens=64, strip_html=True)
    other = type(TOKENIZER)(vocabulary=[*TOKENIZER.get_vocabulary(), "extra"], lowercase=True, strip_accents=True)
    assert preprocessing != TextPreprocessing(other, max_tokens=64)
    cased = type(TOKENIZER)(vocabulary=TOKENIZER.get_vocabulary(), lowercase=False)
    assert preprocessing != TextPreprocessing(cased, max_tokens=64)


def test_a_cased_tokenizer_keeps_case_and_accents(preprocessing):
    cased = TextPreprocessing(type(TOKENIZER)(vocabulary=TOKENIZER.get_vocabulary(), lowercase=False))
    assert cased.clean(["Café"]).numpy()[0].decode() == "Café"
    assert preprocessing.clean(["Café"]).numpy()[0].decode() == "cafe"


def test_byte_pairs_are_not_offered_for_serving(preprocessing):
    import keras_hub

    assert preprocessing.serves
    tokens = {"<s>": 0, "<pad>": 1, "</s>": 2, "<mask>": 3, "a": 4, "b": 5, "ab": 6}
    pairs = TextPreprocessing(keras_hub.tokenizers.RobertaTokenizer(vocabulary=tokens, merges=["a b"]))
    assert not pairs.serves
    assert "byte-pair" in pairs.why_not
    assert (pairs.start_id, pairs.pad_id, pairs.end_id) == (0, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_tokens": 3}, "max_tokens is invalid; received: 3; allowed: a whole number, 4 or more"),
        ({"max_tokens": True}, "max_tokens is invalid"),
        ({"max_windows": 0}, "max_windows is invalid"),
        ({"long_texts": "tail"}, "unknown long_texts; received: 'tail'; allowed: head, head_tail, windows"),
        ({"strip_html": "yes"}, "strip_html must be true or false"),
        ({"tokenizer": object()}, "the tokenizer has no start token; received: 'object'"),
    ],
)
def test_unusable_arguments_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        TextPreprocessing(**{"tokenizer": TOKENIZER, **arguments})
