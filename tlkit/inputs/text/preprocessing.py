"""Strings -> token ids, by TensorFlow and TF Text operations alone.

The data pipeline, the evaluation and the exported SavedModel all call the same `TextPreprocessing` object, so a text
looks the same to the encoder wherever it comes from.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import tensorflow as tf

from tlkit.errors import ConfigError, check_choice

LongTexts = Literal["head", "head_tail", "windows"]

MAX_BYTES = 2_000_000  # of one text: what lies between its first and last million bytes is not read
# Line breaks of all kinds, also the ones that few editors show, end a word; RE2's \s knows only ASCII.
_SPACES = r"[\t-\r\x{1C}-\x{1F}\x{85}\p{Z}]+"
_INVISIBLE = r"[\p{Cc}\p{Cf}\p{Co}\x{FFFD}]+"
_CONTROL = r"[\p{Cc}]+"  # SentencePiece has rules of its own for the rest: some scripts need their joiners
_MARKUP = r"(?s)<!--.*?-->|</?[A-Za-z][^<>]*>|<![A-Za-z][^<>]*>"
_ENTITIES = (("&(?i:nbsp|#160);", " "), ("&(?i:lt|#60);", "<"), ("&(?i:gt|#62);", ">"), ("&(?i:quot|#34);", '"'),
             ("&(?i:apos|#39|#x27);", "'"), ("&(?i:amp|#38);", "&"))  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class TextPreprocessing:
    """Clean, split into tokens, cut to length: the one way from strings to token ids.

    Bytes that are no UTF-8 are dropped, control and other invisible characters too; every kind of space and line break
    becomes a space. What the tokenizer does beyond that (lower case, accents, pieces of words) is the encoder's.

    Example:
        >>> preprocessing = TextPreprocessing(load_tokenizer("all-minilm-l6-v2"), max_tokens=128)
        >>> preprocessing.batch(tf.constant(["A fine film.", "No."]))  # int32 [2, 6]: padded to the longest

    Args:
        tokenizer: a KerasHub tokenizer, as `tlkit.catalogue.encoders.load_tokenizer` gives it.
        max_tokens: what the encoder sees of a text at once, start and end token included, in tokens; 4 or more.
        long_texts: what happens to a longer text: `"head"` keeps the beginning; `"head_tail"` a quarter from the
            beginning and the rest from the end (Sun et al. 2019, arXiv 1905.05583); `"windows"` reads it in pieces of
            `max_tokens`, up to `max_windows`, whose tokens are pooled together.
        strip_html: take out tags and comments and read the commonest entities, as for reviews scraped from pages.
        max_windows: most pieces of one text with `"windows"`; what comes after them is not read.

    Raises:
        ConfigError: an argument is not usable, or the tokenizer has no start, end or padding token.
    """

    tokenizer: Any
    max_tokens: int = 128
    long_texts: LongTexts = "head"
    strip_html: bool = False
    max_windows: int = 8

    def __post_init__(self) -> None:
        for name, lowest in (("max_tokens", 4), ("max_windows", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ConfigError(f"{name} is invalid", received=value, allowed=f"a whole number, {lowest} or more")
        check_choice("long_texts", self.long_texts, get_args(LongTexts))
        if not isinstance(self.strip_html, bool):
            raise ConfigError("strip_html must be true or false", received=self.strip_html)
        for name in ("start_id", "end_id", "pad_id", "_splitter"):  # made now: its tables must lie outside of any graph
            getattr(self, name)

    # Tokens

    @property
    def start_id(self) -> int:
        """Id of the token that every text begins with."""
        return self._special("start")

    @property
    def end_id(self) -> int:
        """Id of the token that every text ends with."""
        return self._special("end")

    @property
    def pad_id(self) -> int:
        """Id of the token that shorter texts of a batch are filled up with."""
        return self._special("pad")

    @property
    def vocabulary_size(self) -> int:
        """Number of different tokens."""
        return int(self.tokenizer.vocabulary_size())

    def _special(self, name: str) -> int:
        found = getattr(self.tokenizer, f"{name}_token_id", None)  # KerasHub's names, whatever the family
        if found is None:
            raise ConfigError(f"the tokenizer has no {name} token", received=type(self.tokenizer).__name__)
        return int(found)

    # Serving

    @property
    def serves(self) -> bool:
        """Whether a stock TensorFlow Serving can run it: WordPiece and SentencePiece, but not byte pairs."""
        return not self.why_not

    @property
    def why_not(self) -> str:
        """Why it cannot be exported; empty when it can."""
        kind = next((k for k in ("WordPiece", "BytePair", "SentencePiece") if _is_a(self.tokenizer, k)), "unknown")
        reasons = {
            "WordPiece": "",
            "BytePair": "KerasHub's byte-pair tokenizer can return other tokens in a graph than in Python",
            "SentencePiece": "",
        }
        return reasons.get(kind, f"its tokenizer {type(self.tokenizer).__name__} is of an unknown type")

    @property
    def tables(self) -> list[tf.Module]:
        """What an export has to keep beside the graph: the model of a SentencePiece tokenizer."""
        return [part for part in vars(self._splitter).values() if isinstance(part, tf.Module)]

    # Strings to ids

    @tf.autograph.experimental.do_not_convert
    def clean(self, texts: tf.Tensor) -> tf.Tensor:
        """Give the texts as the tokenizer sees them.

        Args:
            texts: string [B], any bytes.

        Returns:
            string [B], UTF-8 without control characters, words parted by single spaces.
        """
        half = MAX_BYTES // 2
        size = tf.strings.length(texts)
        ends = tf.strings.substr(texts, tf.maximum(size - half, 0), tf.fill(tf.shape(texts), half))
        cut = tf.strings.join([tf.strings.substr(texts, 0, half), ends], " ")
        texts = tf.where(size > MAX_BYTES, cut, texts)
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        if self.strip_html:
            texts = tf.strings.regex_replace(texts, _MARKUP, " ")
            for pattern, character in _ENTITIES:
                texts = tf.strings.regex_replace(texts, pattern, character)
        texts = tf.strings.regex_replace(texts, _SPACES, " ")
        dropped = _CONTROL if _is_a(self.tokenizer, "SentencePiece") else _INVISIBLE
        texts = tf.strings.strip(tf.strings.regex_replace(texts, dropped, ""))
        if getattr(self.tokenizer, "strip_accents", False):
            texts = tf.strings.regex_replace(_decomposed(texts), r"\p{Mn}", "")
        if getattr(self.tokenizer, "lowercase", False):
            texts = tf.strings.lower(texts, encoding="utf-8")
        return texts

    def ragged(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Give the token ids of each text, start and end tokens included, cut to the limits.

        Args:
            texts: string [B].

        Returns:
            int32 [B, (length)]; with `"windows"`, the windows of a text follow each other, every one but its last
            exactly `max_tokens` long.
        """
        return self._in_graph(tf.convert_to_tensor(texts, tf.string))

    def pad(self, ragged: tf.RaggedTensor) -> tf.Tensor:
        """Fill up to the longest of the batch.

        Args:
            ragged: int32 [B, (length)], as `ragged` gives it.

        Returns:
            int32 [B, T]; beyond `max_tokens` (windows only) T is a multiple of it.
        """
        longest = tf.cast(tf.reduce_max(tf.concat([ragged.row_lengths(), [1]], 0)), tf.int32)
        whole = -(-longest // self.max_tokens) * self.max_tokens
        width = tf.where(longest > self.max_tokens, whole, longest)
        return ragged.to_tensor(default_value=self.pad_id, shape=tf.stack([-1, width]))

    def batch(self, texts: tf.Tensor) -> tf.Tensor:
        """Give the token ids of a batch of texts, string [B] -> int32 [B, T], padded to the longest."""
        return self.pad(self.ragged(texts))

    @cached_property
    def _in_graph(self) -> tf.types.experimental.GenericFunction:
        # Always as a graph: TF Text's operations one by one would cost more than the encoder does.
        spec = tf.TensorSpec([None], tf.string)
        return tf.function(self._ragged, input_signature=[spec], autograph=False)

    @cached_property
    def _splitter(self) -> Any:
        """Give the tokenizer without its own lower case and accents, which `clean` sees to.

        KerasHub folds case by NFKC, which joins Korean letters and opens ligatures after the accents were taken off:
        both then miss the vocabulary, whose makers decomposed (NFD) and lowered only.
        """
        tokenizer = self.tokenizer
        if _is_a(tokenizer, "SentencePiece"):  # loads its model when it is first called
            with tf.init_scope():
                tokenizer.tokenize(tf.constant(["a"]))
        if not (_is_a(tokenizer, "WordPiece") and (tokenizer.lowercase or tokenizer.strip_accents)):
            return tokenizer
        return type(tokenizer)(vocabulary=tokenizer.get_vocabulary(), lowercase=False, strip_accents=False)

    def _ragged(self, texts: tf.Tensor) -> tf.RaggedTensor:
        ids = self._splitter.tokenize(self.clean(texts))
        if not isinstance(ids, tf.RaggedTensor):
            raise ConfigError("the tokenizer pads its output", fix="create it without sequence_length")
        ids = self._cut(tf.cast(ids, tf.int32).with_row_splits_dtype(tf.int64))
        body = self.max_tokens - 2
        lengths = ids.row_lengths()
        count = tf.maximum(-(-lengths // body), 1)
        number = tf.ragged.range(count).flat_values
        of_text = tf.repeat(tf.range(tf.shape(lengths)[0]), count)
        window_lengths = tf.minimum(tf.gather(lengths, of_text) - number * body, body)
        windows = tf.RaggedTensor.from_row_lengths(ids.flat_values, window_lengths, validate=False)
        ones = tf.ones([tf.shape(window_lengths)[0], 1], tf.int32)
        framed = tf.concat([self.start_id * ones, windows, self.end_id * ones], axis=1)
        return tf.RaggedTensor.from_row_lengths(framed.flat_values, lengths + 2 * count, validate=False)

    def _cut(self, ids: tf.RaggedTensor) -> tf.RaggedTensor:
        body = self.max_tokens - 2
        if self.long_texts == "head":
            return ids[:, :body]
        if self.long_texts == "windows":
            return ids[:, : body * self.max_windows]
        lengths = ids.row_lengths()
        place = tf.ragged.range(lengths).flat_values
        left = tf.gather(lengths, ids.value_rowids()) - place
        head = body // 4
        kept = (place < head) | (left <= body - head)
        return tf.ragged.boolean_mask(ids, ids.with_flat_values(kept))

    # Equality

    @cached_property
    def tokenizer_sha256(self) -> str:
        """SHA-256 over the tokenizer's files, in hexadecimal."""
        return sha256_of(self.tokenizer)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values."""
        own = {"max_tokens", "long_texts", "strip_html", "max_windows"}
        kept = ("lowercase", "strip_accents", "split_on_cjk")
        return {
            "tokenizer": type(self.tokenizer).__name__,
            "tokenizer_sha256": self.tokenizer_sha256,
            "vocabulary_size": self.vocabulary_size,
            **{name: bool(getattr(self.tokenizer, name)) for name in kept if hasattr(self.tokenizer, name)},
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name in own},
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextPreprocessing) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.max_tokens, self.long_texts, self.strip_html, self.max_windows))


def sha256_of(tokenizer: Any) -> str:
    """Give the SHA-256 over the files of a KerasHub tokenizer, in hexadecimal."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_assets(folder)
        for file in sorted(Path(folder).rglob("*")):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _is_a(tokenizer: object, kind: str) -> bool:
    return any(kind in base.__name__ for base in type(tokenizer).__mro__)


def _decomposed(texts: tf.Tensor) -> tf.Tensor:
    import tensorflow_text

    return tensorflow_text.normalize_utf8(texts, "NFD")
