"""Keep what this version of tlkit makes, so that later versions can be tested with it.

    python tools/keep_release.py FOLDER

Writes FOLDER/exports/<photos|reviews|houses>/1, three small exports with random weights, and
FOLDER/projects/<template>, each template with its default answers. FOLDER must not exist.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
import tiny
import tiny_table
import tiny_text

from tlkit.export.saved_model import export_task
from tlkit.scaffold.new import new_project, templates


def keep_exports(folder: Path) -> None:
    """Export an image, a text and a row classifier, each with golden examples of its own."""
    houses = tiny_table.tiny_table_task("single_label")
    rows = houses.preprocessing.to_examples(tiny_table.tiny_frame(8))[:4]
    reviews = tiny_text.tiny_text_task()
    made = {
        "photos": (tiny.tiny_task(), tiny.photos()),
        "reviews": (reviews, [text.encode() for text in tiny_text.SENTENCES]),
        "houses": (houses, rows),
    }
    for name, (task, golden) in made.items():
        export_task(task, folder / name, golden=golden, metrics={"accuracy": np.float32(0.5)}, max_batch=3)


def keep_projects(folder: Path) -> None:
    """Bake each template with its defaults."""
    for name, template in templates().items():
        new_project(template, folder / name, {"project_name": "Kept", "data_path": "data"})


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    keep_projects(folder / "projects")
    keep_exports(folder / "exports")
    for path in sorted(folder.glob("*/*")):
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        print(f"{path}: {size / 1024:.0f} KiB")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
