"""A fleet that holds only words about models, for the tests of the page; the models never run."""

from __future__ import annotations

import math
from typing import NamedTuple

from tlkit.serving.status import Code, ServingError

EVIL = "<img src=x onerror=\"document.title='hacked'\">"
LARGE = 2**53 + 1


class Status(NamedTuple):
    version: int
    state: str = "AVAILABLE"
    code: Code = Code.OK
    message: str = ""


def manifest(content, labels=(), objective="single_label", preprocessing=None, **interface):
    """What the page reads of a manifest.json, as the export writes it."""
    base = {
        "content": content,
        "input": {"image": "image_bytes", "text": "text", "row": ""}[content],
        "feature": "",
        "raw_signature": "raw",
        "raw_input": "raw",
        "raw_dtype": "float32",
        "raw_shape": [None, None],
    }
    return {
        "schema_version": 3,
        "labels": list(labels),
        "objective": objective,
        "interface": {**base, **interface},
        "preprocessing": preprocessing or {},
        "golden": [{"content": "c2VjcmV0", "outputs": {}}],
    }


def column(name, dtype, kind, argument=None):
    absent = {"string": "", "float32": "NaN", "int64": -(2**63)}[dtype]
    return {"name": name, "argument": argument or name, "dtype": dtype, "kind": kind, "absent": absent}


HOUSES = manifest(
    "row",
    ("price", "sold=no", "sold=yes", "tags=bright", "tags=quiet"),
    "several",
    preprocessing={
        "columns": [
            {"argument": "colour", "values": ["blue", "red", EVIL]},
            {"argument": "rooms", "values": ["1", "2"]},
            {"argument": "area__m__", "median": 57.91999816894531},
            {"argument": "garden", "values": ["false", "true"]},
            {"argument": "built", "parts": ["year"], "years": [2012, 2014]},
            {"argument": "seen", "parts": ["year", "hour"], "years": [2014]},
        ]
    },
    columns=[
        column("colour", "string", "categorical"),
        column("rooms", "int64", "categorical"),
        column("area (m²)", "float32", "continuous", "area__m__"),
        column("garden", "string", "categorical"),
        column("built", "string", "date"),
        column("seen", "string", "date"),
        column("<b>note</b>", "string", "categorical", "note"),
    ],
    outputs=[
        {"target": "price <i>€</i>", "kind": "regression", "value": "price"},
        {
            "target": "sold",
            "kind": "single_label",
            "class_names": ["no", "yes"],
            "classes": "sold_classes",
            "scores": "sold_scores",
        },
        {
            "target": "tags",
            "kind": "multi_label",
            "class_names": ["bright", "quiet"],
            "classes": "tags_classes",
            "scores": "tags_scores",
        },
    ],
)
PHOTOS = manifest(
    "image", ["ant", "bee", EVIL, *(f"class {i}" for i in range(7))], preprocessing={"formats": ["jpeg", "png"]}
)
TEXTS = manifest("text", ["bad", "good"])
PRICE = manifest(
    "row",
    ["price"],
    "regression",
    columns=[column("area", "float32", "continuous")],
    outputs=[{"target": "price", "kind": "regression", "value": "price"}],
)
DAMAGED = {**TEXTS, "interface": {"content": "text"}}


def metadata(name, version):
    """GET .../metadata of a model that adds up numbers."""

    def tensor(dtype, *sizes):
        return {
            "dtype": dtype,
            "tensor_shape": {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": False},
            "name": "x:0",
        }

    signatures = {
        "__saved_model_init_op": {"inputs": {}, "outputs": {"op": tensor("DT_INVALID")}, "method_name": ""},
        "big": {"inputs": {"pixels": tensor("DT_FLOAT", -1, 32, 32)}, "outputs": {}, "method_name": ""},
        "serving_default": {
            "inputs": {"x": tensor("DT_FLOAT", -1, 2), "name": tensor("DT_STRING", -1)},
            "outputs": {"y": tensor("DT_INT64", -1)},
            "method_name": "tensorflow/serving/predict",
        },
        "whole": {
            "inputs": {"n": {"dtype": "DT_INT64", "tensor_shape": {"dim": [], "unknown_rank": True}, "name": "n:0"}},
            "outputs": {"y": tensor("DT_INT64")},
            "method_name": "tensorflow/serving/predict",
        },
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


class FakeFleet:
    """Models of every content, one without a manifest, and versions that are not available."""

    def __init__(self):
        self.manifests = {
            ("photos", 3): PHOTOS,
            ("photos", 2): PHOTOS,
            ("texts", LARGE): TEXTS,
            ("houses", 1): HOUSES,
            ("price", 1): PRICE,
            ("damaged", 1): DAMAGED,
        }
        self.served = {
            "photos": [Status(4, "LOADING"), Status(3), Status(2), Status(1, "END", Code.UNKNOWN, "no variables")],
            "texts": [Status(LARGE)],
            "houses": [Status(1)],
            "price": [Status(1)],
            "damaged": [Status(1)],
            "sum/any": [Status(7)],
        }
        self.gone = False

    def models(self):
        return self.served

    def manifest(self, name, version):
        self._check()
        assert (name, version) in {(n, one.version) for n, all_ in self.served.items() for one in all_}
        return self.manifests.get((name, version))

    def metadata(self, name, version):
        self._check()
        return metadata(name, version)

    def _check(self):
        if self.gone:
            raise ServingError(Code.UNAVAILABLE, "the worker process is being restarted")


# What the canned server answers to the next request, by model; NaN and Infinity are written bare.
ANSWERS = {
    "photos": {
        "predictions": [
            {
                "classes": [EVIL, "ant", "bee", *(f"class {i}" for i in range(7))],
                "scores": [0.7312, 0.21, 0.05, 0.0087, 0.0001, 0.0, 0.0, 0.0, 0.0, 0.0],
            }
        ]
    },
    "texts": {"predictions": [{"classes": ["good", "bad"], "scores": [0.99973, 0.00027]}]},
    "houses": {
        "predictions": [
            {
                "price": math.inf,
                "sold_classes": ["yes", "no"],
                "sold_scores": [0.61, 0.39],
                "tags_classes": ["quiet", "bright"],
                "tags_scores": [0.8, math.nan],
            }
        ]
    },
    "price": {"predictions": [123456.78]},
}
