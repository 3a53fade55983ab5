"""A model card as Markdown, with the header that Hugging Face reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tlkit.report.regression import figure

_SPLITS = {"val": "validation", "test": "test", "train": "training"}
_UNKNOWN = "unknown"
_FEW_CLASSES = 50
_USE = "To be filled in: what the model is for, who uses it, what it must not decide."
_LICENCE = "Licence of the data: unknown to tlkit, to be filled in. Origin, period and consent: to be filled in."


def card_text(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown.

    Args:
        card: what `card_of` gives.
    """
    parts = [
        _header(card),
        f"# {_line(card['name'])}",
        _intro(card),
        _own("intended-use", "Intended use", _USE),
        _data(card),
        _own("data-licence", "", _LICENCE),
        _check(card["check"]),
        _evaluation(card),
        _slices(card["slices"]),
        _calibration(card["calibration"]),
        _limits(card["limits"]),
        _own("further-limits", "", "Further limits and risks: to be filled in."),
        _lineage(card),
        _training(card["training"]),
        _versions(card["versions"]),
        _own("contact", "Contact", "To be filled in."),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(card: Mapping[str, Any]) -> str:
    """Return the YAML header; JSON values are YAML."""
    lines = ["---", "# keep licence: lines up to `end` stay as you write them", "license: unknown", "# end licence"]
    lines.append("library_name: keras")
    if card["pipeline_tag"]:
        lines.append(f"pipeline_tag: {card['pipeline_tag']}")
    lines.append(f"tags: {json.dumps(['tlkit', 'tensorflow', 'transfer-learning'])}")
    values = {name: one["value"] for name, one in card["evaluation"]["metrics"].items() if one["value"] is not None}
    if values and card["pipeline_tag"]:
        lines.append(f"metrics: {json.dumps([name for name in values if '.' not in name] or list(values))}")
        lines += ["model-index:", f"- name: {json.dumps(card['name'])}", "  results:"]
        lines += [f"  - task: {{type: {card['pipeline_tag']}}}"]
        split = card["evaluation"]["split"]
        lines += [f"    dataset: {{name: {json.dumps(card['name'] + ' data')}, type: local, split: {split}}}"]
        lines += ["    metrics:"]
        lines += [f"    - {{type: {json.dumps(name)}, value: {value!r}}}" for name, value in values.items()]
    return "\n".join([*lines, "---"])


def _intro(card: Mapping[str, Any]) -> str:
    model = card["model"]
    outputs = [_line(name) for name in model["outputs"]]
    named = ", ".join(outputs[:_FEW_CLASSES]) + (", …" if len(outputs) > _FEW_CLASSES else "")
    rows = [
        ("task", card["task"].replace("_", " ")),
        ("network", _line(model["backbone"] or "trained from scratch")),
        ("parameters", f"{model['parameters']:,}"),
        ("precision", model["precision"]),
        ("outputs", named),
        ("created", card["created"]),
    ]
    return _table(("", ""), rows)


def _data(card: Mapping[str, Any]) -> str:
    data = card["data"]
    counts = data.get("counts")
    said = ["## Data"]
    if isinstance(counts, Mapping) and counts:
        if all(isinstance(value, int) for row in counts.values() for value in row.values()):
            classes = list(dict.fromkeys(name for row in counts.values() for name in row))[:_FEW_CLASSES]
            rows = [(_line(name), *(f"{row.get(name, 0):,}" for row in counts.values())) for name in classes]
            said.append(_table(("class", *counts), rows))
        else:
            rows = [
                (split, _line(target), ", ".join(f"{key} {_short(value)}" for key, value in own.items()))
                for split, row in counts.items()
                for target, own in row.items()
            ]
            said.append(_table(("split", "target", "labels"), rows))
    for key in ("rows", "texts"):
        if isinstance(data.get(key), Mapping):
            said.append(
                f"{key.capitalize()}: " + ", ".join(f"{split} {_short(n)}" for split, n in data[key].items()) + "."
            )
    said.append(f"Fingerprint: `{data.get('fingerprint', _UNKNOWN)}`.")
    return "\n\n".join(said)


def _check(check: Mapping[str, Any] | None) -> str:
    if check is None:
        return "### Data check\n\nNot run. `tlkit check` looks for damage, copies, leaks, wrong labels and shift."
    rows = [(one["rule"], one["status"], _line(one["found"])) for one in check["rules"] if one["status"] != "off"]
    head = f"`tlkit check` of {check['written']}: {check['failed']} rules failed, {check['warned']} warnings."
    return f"### Data check\n\n{head}\n\n{_table(('rule', 'result', 'found'), rows)}"


def _evaluation(card: Mapping[str, Any]) -> str:
    found = card["evaluation"]
    rows = [
        (
            _line(name.replace("_", " ")),
            figure(one["value"]),
            "-" if one["low"] is None else f"{figure(one['low'])} to {figure(one['high'])}",
        )
        for name, one in found["metrics"].items()
    ]
    said = [
        "## Evaluation",
        f"Measured on {found['n']:,} items of the {_SPLITS.get(found['split'], found['split'])} data.",
        _table(("metric", "value", "95 % interval"), rows),
        f"Intervals: {found['method']}.",
    ]
    classes = list(found["per_class"].items())[:_FEW_CLASSES]
    if classes:
        keys = list(classes[0][1])
        lines = [
            (_line(name), *(figure(row.get(key)) if key != "n" else f"{int(row[key]):,}" for key in keys))
            for name, row in classes
        ]
        said.append(_table(("class", *(key.replace("_", " ") for key in keys)), lines))
    return "\n\n".join(said)


def _slices(slices: Mapping[str, Any]) -> str:
    said = "### Groups on which the model is worse\n\n"
    if slices["skipped"]:
        return f"{said}{slices['skipped'][0].upper()}{slices['skipped'][1:]}."
    if not slices["found"]:
        return f"{said}None was found: {slices['tested']:,} groups were compared."
    rows = [
        (
            _line(" ".join(filter(None, (one["target"], one["column"], one["value"])))),
            f"{one['n']:,}",
            *(f"{100 * one[key]:.0f} % wrong" if one["is_rate"] else figure(one[key]) for key in ("error", "rest")),
            f"{one['p']:.1g}",
        )
        for one in slices["found"]
    ]
    note = f"{slices['tested']:,} groups were compared; p-values are corrected for that (Holm)."
    return f"{said}{_table(('group', 'items', 'error', 'error elsewhere', 'p'), rows)}\n\n{note}"


def _calibration(calibration: Mapping[str, Any]) -> str:
    said = ["### Calibration"]
    rows = [
        (_line(name), f"{one['ece']:.4f}", _ends(one.get("ece_interval")), f"{one['brier']:.4f}")
        for name, one in calibration["measured"].items()
    ]
    if rows:
        said.append(_table(("target", "ECE", "95 % interval", "Brier score"), rows))
    fitted = calibration["fitted"]
    if fitted is None:
        said.append("The probabilities are those of the network: no calibration was fitted.")
    else:
        said.append(f"Calibrated on {fitted['examples']:,} items of {fitted['split']}.")
        if fitted["before"]:
            effect = [
                (name.replace("_", " "), f"{value:.4f}", f"{fitted['after'][name]:.4f}")
                for name, value in fitted["before"].items()
            ]
            said.append(_table(("", "before", "after (cross-fitted)"), effect))
    return "\n\n".join(said)


def _limits(limits: Sequence[str]) -> str:
    return "## Limits\n\n" + "\n".join(f"- {_line(one)}" for one in limits)


def _lineage(card: Mapping[str, Any]) -> str:
    lineage = card["lineage"]
    source = lineage["source"]
    rows = [
        ("source network", _line(source.get("name", "none: trained from scratch"))),
        ("source weights", _line(lineage["source_weights"])),
        ("hash of the source weights", f"`{source['hash']}`" if source.get("hash") else _UNKNOWN),
        ("licence of the source weights", _line(source.get("licence") or _UNKNOWN)),
        ("paper", _line(source.get("paper", "") or "-")),
        ("SHA-256 of the trained weights", f"`{lineage['trained_weights_sha256'] or _UNKNOWN}`"),
        ("fingerprint of the data", f"`{lineage['data_fingerprint'] or _UNKNOWN}`"),
    ]
    return f"## Lineage\n\n{_table(('', ''), rows if source else rows[5:])}"


def _training(training: Mapping[str, Any]) -> str:
    epochs = [f"{one['name']} ({one['epochs']} epoch{'s' if one['epochs'] != 1 else ''})" for one in training["stages"]]
    stages = ", ".join(epochs) or _UNKNOWN
    said = [f"## Training\n\nStages: {_line(stages)}."]
    if training["seconds"] is None:
        said.append("The time was not recorded.")
    else:
        said.append(
            f"Time: {_duration(training['seconds'])}. Energy: about {training['energy_kwh']:.3g} kWh, an estimate: "
            f"the time multiplied by {training['watts']:g} W ({training['assumption']})."
        )
    return "\n\n".join(said)


def _versions(versions: Mapping[str, str]) -> str:
    return "## Versions\n\n" + _table(("package", "version"), list(versions.items()))


def _own(name: str, heading: str, text: str) -> str:
    part = f"<!-- keep {name}: edit the text up to `end`, it stays as you write it -->\n{text}\n<!-- end {name} -->"
    return f"## {heading}\n\n{part}" if heading else part


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(text: object) -> str:
    """Return text for one cell or line: Markdown and HTML in it mean nothing."""
    plain = " ".join(str(text).split())
    for special in "\\`*_[]<>|":
        plain = plain.replace(special, f"\\{special}" if special not in "<>" else {"<": "&lt;", ">": "&gt;"}[special])
    return plain


def _short(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else figure(value) if isinstance(value, float) else _line(value)


def _ends(ends: Sequence[float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
