"""What a server's outputs are about.

What a manifest says about the answers is used where there is one; otherwise the names of the outputs say it:
`classes` and `scores`, or `<target>_classes` and `<target>_scores`, belong together, and every other output is a value.
"""

from __future__ import annotations

from typing import NamedTuple

from tlkit.export.manifest import Manifest, SignatureInfo


class NamedOutput(NamedTuple):
    """What is answered about one target, by names of outputs.

    Attributes:
        target: what the record calls it.
        value: the output of a value; empty where there are classes.
        classes, scores: the outputs of a classification, best first; empty where there is a value.
        curve: the output of a survival curve, and `times` its times; empty where there is none.
    """

    target: str
    value: str = ""
    classes: str = ""
    scores: str = ""
    curve: str = ""
    times: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs that are about it."""
        return tuple(filter(None, (self.value, self.curve, self.classes, self.scores)))


def answers_of(signature: SignatureInfo, manifest: Manifest | None) -> list[NamedOutput]:
    """Say what the outputs of serving_default are about."""
    if manifest is not None:
        outputs = manifest.interface.outputs_or(manifest.labels, manifest.objective)
        return [NamedOutput(one.target, one.value, one.classes, one.scores, one.curve, one.times) for one in outputs]
    answers, used = [], set()
    for name in signature.outputs:
        stem = "" if name == "classes" else name.removesuffix("_classes")
        scores = f"{stem}_scores" if stem else "scores"
        if name.endswith("classes") and stem != name and scores in signature.outputs:
            answers.append(NamedOutput(stem, classes=name, scores=scores))
            used |= {name, scores}
    return answers + [NamedOutput(name, value=name) for name in signature.outputs if name not in used]
