"""Learned embeddings in front of any scikit-learn estimator, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from tlkit.errors import ConfigError, DataError, check_choice, missing_column
from tlkit.inputs.row.columns import FIRST, MISSING, UNKNOWN, WEEKDAYS
from tlkit.tasks.tabular.cells import boolean_word, cell_texts, date_parts
from tlkit.tasks.tabular.embedding_tables import embedding_tables, read_embedding_tables, read_manifest

Fill = Literal["median", "keep"]


class EmbeddingFeatures(TransformerMixin, BaseEstimator):
    """Transform rows into embeddings of their categories and their numbers, for scikit-learn (arXiv 1604.06737).

    A category that the network never saw gets the vector of `"(unknown)"`, a missing one that of `"(missing)"`. The
    vectors are not learned further; `fit` reads the tables and looks at the numbers.

    From written tables neither TensorFlow nor Keras is loaded, unless a column was hashed into buckets.

    Example:
        >>> features = EmbeddingFeatures("embeddings")
        >>> model = make_pipeline(features, HistGradientBoostingRegressor()).fit(train, train["delay"])
        >>> nearest = make_pipeline(EmbeddingFeatures("embeddings", scale=True), KNeighborsRegressor())

    Args:
        tables: the folder of `write_embedding_tables`, or what `embedding_tables(task)` gives.
        numbers: columns to pass on as numbers. Left out, those that the network had as numbers, as far as the folder
            tells; else all numeric columns that no table is of.
        fill: `"median"` puts the median of the fitted rows where a number is missing or infinite, `"keep"` leaves NaN
            there, which boosting takes and nearest neighbours do not.
        scale: bring numbers to mean 0 and standard deviation 1 of the fitted rows, so that distances are not those of
            the largest unit alone; boosting does not care.

    Attributes:
        tables_: the tables by name.
        numbers_: names of the columns passed on as numbers.
        medians_: median of each of them, float64.
        centers_, scales_: what `scale` subtracts and divides by, float64.
        feature_names_in_: columns of the fitted rows.
        n_features_in_: how many they are.
    """

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame] | str | Path,
        *,
        numbers: Sequence[str] | None = None,
        fill: Fill = "median",
        scale: bool = False,
    ):
        # scikit-learn's clone compares these with what it gave: nothing may be changed here.
        self.tables = tables
        self.numbers = numbers
        self.fill = fill
        self.scale = scale

    @classmethod
    def of_task(cls, task: Any, **options: Any) -> EmbeddingFeatures:
        """Create the transformer from a trained tabular task."""
        numbers = [column.name for column in task.preprocessing.columns if not column.codes and column.numbers]
        return cls(embedding_tables(task), **{"numbers": numbers, **options})

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Read the tables, and compute medians and scales of the numbers.

        Args:
            X: raw rows, a DataFrame.
            y: not looked at.

        Returns:
            The transformer itself.

        Raises:
            ConfigError: an argument is invalid.
            DataError: X is no DataFrame, has no rows, or lacks a column.
            ProjectError: the folder holds no tables.
        """
        check_choice("fill", self.fill, get_args(Fill))
        self._check(X)
        if not len(X):
            raise DataError("there are no rows to fit", received=f"0 sample(s) (shape={X.shape})", allowed="1 or more")
        told: Sequence[str] | None = self.numbers
        if isinstance(self.tables, str | Path):
            self.tables_ = read_embedding_tables(self.tables)
            told = read_manifest(self.tables)["numbers"] if told is None else told
        else:
            self.tables_ = dict(self.tables)
        for name, table in self.tables_.items():
            _check_table(name, table)
        if told is None:
            own = {_origin(name, table)["column"] for name, table in self.tables_.items()}
            numeric = X.select_dtypes(include="number").columns
            told = [column for column in numeric if column not in own]
        self.numbers_ = [str(name) for name in told]
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = X.shape[1]
        if not self.get_feature_names_out().size:
            raise ConfigError("there are neither tables nor numbers", received=f"tables of {list(self.tables_)}")
        self._check_columns(X)
        values = self._numbers(X)
        values[~np.isfinite(values)] = np.nan
        known = np.isfinite(values).any(axis=0)
        self.medians_ = np.zeros(values.shape[1])
        self.medians_[known] = np.nanmedian(values[:, known], axis=0)
        filled = np.where(np.isfinite(values), values, self.medians_)
        self.centers_ = filled.mean(axis=0)
        deviations = filled.std(axis=0)
        self.scales_ = np.where(deviations > 0, deviations, 1.0)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the embeddings and numbers of the rows.

        Args:
            X: raw rows; columns may stand in another order, and others are left aside.

        Returns:
            A DataFrame with the index of X: for each table its columns, such as `"carrier v1"`, float32; then the
            numbers, float64.

        Raises:
            DataError: X is no DataFrame, or lacks a column.
            NotFittedError: `fit` was not called.
        """
        check_is_fitted(self, "tables_")
        self._check(X)
        self._check_columns(X)
        parts = {}
        dates: dict[str, pd.DataFrame] = {}
        for name, table in self.tables_.items():
            vectors = table.iloc[:, 1:].to_numpy(np.float32)[self._codes(name, table, X, dates)]
            parts.update({f"{name} v{i + 1}": vectors[:, i] for i in range(vectors.shape[1])})
        values = self._numbers(X)
        values = np.where(np.isfinite(values), values, self.medians_ if self.fill == "median" else np.nan)
        if self.scale:
            values = (values - self.centers_) / self.scales_
        parts.update({name: values[:, i] for i, name in enumerate(self.numbers_)})
        return pd.DataFrame(parts, index=X.index)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names of the output columns of `transform`, object [m]."""
        check_is_fitted(self, "tables_")
        if input_features is not None and list(input_features) != list(self.feature_names_in_):
            raise ConfigError(
                "input_features is not equal to feature_names_in_",
                received=list(input_features),
                allowed=list(self.feature_names_in_),
            )
        vectors = [f"{name} {column}" for name, table in self.tables_.items() for column in table.columns[1:]]
        return np.asarray([*vectors, *self.numbers_], dtype=object)

    def _codes(
        self, name: str, table: pd.DataFrame, frame: pd.DataFrame, dates: dict[str, pd.DataFrame]
    ) -> npt.NDArray[np.int64]:
        origin = _origin(name, table)
        column = frame[origin["column"]]
        if origin["part"] is not None:
            if origin["column"] not in dates:  # several tables are of the parts of one date
                dates[origin["column"]] = date_parts(column, origin["form"])
            return _date_codes(table, dates[origin["column"]][origin["part"]], origin["part"])
        numbers, texts = cell_texts(column, dtype=origin["dtype"], missing=set(origin["missing"]))
        if origin["boolean"]:
            texts = [boolean_word(text) for text in texts]
        if origin["hash_buckets"]:
            codes = _buckets(texts, origin["hash_buckets"])
        else:
            places = {text: place for place, text in enumerate(table["value"]) if place >= FIRST}
            codes = [places.get(text, UNKNOWN) for text in texts]
        return np.array([*codes, MISSING], np.int64)[numbers]

    def _numbers(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        columns = [pd.to_numeric(frame[name], errors="coerce") for name in self.numbers_]
        if not columns:
            return np.zeros((len(frame), 0))
        return np.stack([column.to_numpy(np.float64, na_value=np.nan) for column in columns], axis=1)

    def _check(self, frame: Any) -> None:
        if not isinstance(frame, pd.DataFrame):
            raise DataError(
                "embeddings are looked up by the names of columns", received=type(frame).__name__, allowed="a DataFrame"
            )

    def _check_columns(self, frame: pd.DataFrame) -> None:
        needed = [_origin(name, table)["column"] for name, table in self.tables_.items()] + self.numbers_
        for name in needed:
            if name not in frame.columns:
                raise missing_column(name, frame.columns, "the table")
            if not isinstance(frame[name], pd.Series):
                raise DataError(f"there are several columns {name!r}")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.categorical = tags.input_tags.allow_nan = True
        tags.no_validation = True  # text and dates: none of scikit-learn's arrays of numbers
        return tags


def _origin(name: str, table: pd.DataFrame) -> dict[str, Any]:
    """Say where the values of a table come from; one that was made by hand is of the column of its name."""
    plain: dict[str, Any] = {"column": name, "part": None, "dtype": "string", "hash_buckets": 0, "missing": ()}
    plain |= {"form": "", "boolean": False}  # which the tables of 0.1.0 do not say
    return {**plain, **{str(key): value for key, value in table.attrs.items()}}


def _check_table(name: str, table: Any) -> None:
    columns = list(table.columns) if isinstance(table, pd.DataFrame) else []
    if len(columns) < 2 or columns[0] != "value" or len(table) < FIRST:
        raise ConfigError(
            f"table {name!r} is not one of embeddings",
            received=columns or type(table).__name__,
            allowed="a DataFrame with the columns value, v1, v2 ..., first (unknown), then (missing)",
        )


def _date_codes(table: pd.DataFrame, values: pd.Series[Any], part: str) -> npt.NDArray[np.int64]:
    places = {text: place for place, text in enumerate(table["value"]) if place >= FIRST}
    found: dict[float, int] = {}
    for value in values.dropna().unique():
        number = int(value)
        found[value] = places.get(WEEKDAYS[number] if part == "day_of_week" else str(number), UNKNOWN)
    return np.asarray(values.map(found).fillna(MISSING), np.int64)


def _buckets(texts: Sequence[str], buckets: int) -> list[int]:
    # The fingerprint is TensorFlow's own; it is loaded for hashed columns alone.
    import tensorflow as tf

    return [
        FIRST + int(bucket) for bucket in tf.strings.to_hash_bucket_fast(tf.constant(list(texts), tf.string), buckets)
    ]
