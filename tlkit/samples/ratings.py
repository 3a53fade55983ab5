"""The sample `ratings`: made-up ratings of made-up books, drawn from tastes that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tlkit.separated import separated_writer

USERS, BOOKS, RATINGS, TASTES = 500, 300, 20_000, 4
NOISE = 0.6  # standard deviation of a rating about what its user thinks of the book, before it is rounded
_GENRES = ("crime", "history", "romance", "science fiction", "travel")
_FIRST = ("Silent", "Last", "Northern", "Borrowed", "Hidden", "Second", "Paper", "Winter", "Distant", "Golden")
_SECOND = ("River", "Witness", "Garden", "Signal", "Harbour", "Orchard", "Letter", "Station", "Island", "Mirror")
_THIRD = ("", " House", " Song")


def describe() -> str:
    """Say in one line what the sample holds."""
    return "20,000 generated ratings of 300 books by 500 users, from known tastes; nothing is downloaded"


def write(folder: Path) -> None:
    """Write `FOLDER/ratings.csv` (user, book, rating, time) and `FOLDER/books.csv` (book, genre).

    What a user thinks of a book is 3.5 plus a bias of each plus the product of four tastes, of which two follow from
    the genre. A rating is that with noise of 0.6, rounded to halves between 0.5 and 5: no model can have a lower RMSE
    than about 0.6. Popular books and eager users have more ratings.

    Args:
        folder: where to write; must exist.
    """
    draw = np.random.default_rng(2013)
    genres = draw.integers(0, len(_GENRES), BOOKS)
    of_genre = draw.normal(0, 1, (len(_GENRES), TASTES // 2))
    books = np.concatenate([of_genre[genres], draw.normal(0, 1, (BOOKS, TASTES // 2))], axis=1)
    users = draw.normal(0, 0.45, (USERS, TASTES))
    bias_of_user, bias_of_book = draw.normal(0, 0.35, USERS), draw.normal(0, 0.4, BOOKS)
    share_of_user, share_of_book = draw.gamma(1.2, 1, USERS) + 0.15, draw.gamma(0.8, 1, BOOKS) + 0.05
    pairs = np.outer(share_of_user, share_of_book).ravel()
    chosen = draw.choice(USERS * BOOKS, RATINGS, replace=False, p=pairs / pairs.sum())
    user, book = np.divmod(chosen, BOOKS)
    liked = 3.5 + bias_of_user[user] + bias_of_book[book] + (users[user] * books[book]).sum(1)
    ratings = np.clip(np.round(2 * (liked + draw.normal(0, NOISE, RATINGS))) / 2, 0.5, 5)
    times = np.sort(draw.integers(0, 365 * 24 * 3600, RATINGS)).astype("timedelta64[s]") + np.datetime64("2025-01-01")
    names = [f"{first} {second}{third}" for first in _FIRST for second in _SECOND for third in _THIRD]
    titles = [names[place] for place in draw.permutation(len(names))]
    with (folder / "books.csv").open("w", encoding="utf-8", newline="") as stream:
        line = separated_writer(stream)
        line(("book", "genre"))
        for title, genre in zip(titles, genres, strict=True):
            line((title, _GENRES[genre]))
    with (folder / "ratings.csv").open("w", encoding="utf-8", newline="") as stream:
        line = separated_writer(stream)
        line(("user", "book", "rating", "time"))
        for who, what, stars, when in zip(user, book, ratings, times, strict=True):
            line((f"reader {who:03}", titles[what], f"{stars:g}", str(when)))
