"""Hostile texts for `tlkit verify` (standalone: run by path, without tlkit)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def bad_contents() -> list[tuple[str, bytes]]:
    """List what must be refused as a text: nothing, any bytes have an answer."""
    return []


def bad_examples(interface: dict[str, Any]) -> list[tuple[str, bytes]]:
    """List what must be refused as a tf.Example: what it is, and its bytes."""
    return [("no tf.Example", b"junk"), ("a tf.Example without the text", b"")]


def odd_contents(interface: dict[str, Any] | None = None) -> list[tuple[str, bytes]]:
    """List what is strange and must be answered all the same: what it is, and its bytes."""
    return [
        ("the empty text", b""),
        ("spaces of all kinds", " \t\r\n\x0b\x0c\x85\xa0\u2003\u2028\u3000".encode()),
        ("a word of 1,000,000 letters", b"a" * 1_000_000),
        ("1,000,000 characters of words", b"good bad " * 111_112),
        ("300,000 Chinese characters", "电影好".encode() * 100_000),
        ("an open tag of 1,000,000 characters", b"<a " * 333_334),
        ("emoji joined by zero-width joiners", "👩‍👩‍👧‍👦🏳️‍🌈👍🏽".encode() * 200),
        ("a letter under 5,000 combining marks", ("e" + "\u0301\u0323" * 2_500).encode()),
        ("right-to-left text with its marks", "\u202eهذا فيلم جيد\u202c \u200fסרט טוב\u200e".encode()),
        ("control characters", bytes(range(1, 32)) + b"\x7f\xc2\x80\xc2\x9f"),
        ("NUL bytes", b"good\0film\0"),
        ("bytes that are not UTF-8", b"caf\xe9 \xff\xfe\xc3( \xe2\x82 \xf0\x9f\x98"),
        ("overlong and surrogate encodings", b"\xc0\x80 \xed\xa0\x80 \xf8\x88\x80\x80\x80"),
        ("all 256 bytes", bytes(range(256)) * 8),
        ("the last code points", "\ufdd0\uffff\U000e0001\U0010ffff".encode()),
        ("the special tokens of the encoder", b"[CLS] [SEP] [MASK] [PAD] [UNK] ##ing <s> </s> <mask>"),
    ]


def neighbours(interface: dict[str, Any]) -> list[bytes]:
    """List what could disturb the other rows of its batch: a text that pads them all to the full length."""
    return [b"good and bad " * (interface["max_tokens"] * interface["max_windows"])]


def raw_batch(size: int, interface: dict[str, Any], shape: Sequence[int | None]) -> np.ndarray:
    """Make `size` rows of random token ids: int32 [size, T]."""
    length = min(16, interface["max_tokens"])
    return np.random.default_rng(0).integers(0, interface["vocabulary"], (size, length)).astype(np.int32)


def bad_raw(interface: dict[str, Any], shape: Sequence[int | None]) -> list[tuple[str, np.ndarray]]:
    """List what must be refused as token ids."""
    good = raw_batch(2, interface, shape)
    most = interface["max_tokens"] * interface["max_windows"]

    def with_id(number: int) -> np.ndarray:
        ids = good.copy()
        ids[1, 1] = number
        return ids

    values = [
        ("token ids without a batch", good[0]),
        ("token ids of rank 3", good[None]),
        ("token ids of rank 4", good[None, None]),
        ("token ids of dtype int64", good.astype(np.int64)),
        ("token ids of dtype float32", good.astype(np.float32)),
        ("strings for token ids", np.array([b"good"], object)),
        ("an empty batch of token ids", good[:0]),
        ("rows without token ids", good[:, :0]),
        ("a token id beyond the vocabulary", with_id(interface["vocabulary"])),
        ("the largest int32 as a token id", with_id(np.iinfo(np.int32).max)),
        ("a negative token id", with_id(-1)),
        ("more token ids than the encoder reads", np.ones([1, most + 1], np.int32)),
    ]
    if interface["max_windows"] > 1:
        part = np.ones([1, interface["max_tokens"] + 1], np.int32)
        values.append(("token ids that are not whole windows", part))
    return values
