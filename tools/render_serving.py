"""Put the deployment files of a new project into templates/_shared: serving/, as `tlkit deploy` renders it.

    python tools/render_serving.py

Run it after a change of tlkit/serving/deploy.py or deploy_templates/; tests/templates compares the results.
"""

import json
import shutil
from pathlib import Path

from tlkit.scaffold.new import SHARED
from tlkit.serving.deploy import Deployment, kubernetes_name, render

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
STAND_IN = "the-slug-of-the-project"
# `tlkit.serving.deploy.kubernetes_name`, as far as slugs need it.
KUBERNETES_NAME = "{{ ('tfs-' ~ (cookiecutter.project_slug | replace('_', '-')))[:50].rstrip('-') }}"


def template_files() -> dict[str, str]:
    """Render for a model of any name, with cookiecutter's variables where the name belongs."""
    files = {}
    for name, text in render(Deployment(STAND_IN)).items():
        for mark in ("{{", "{%", "{#"):
            if mark in text:
                raise SystemExit(f"{name} holds {mark}, which cookiecutter would read")
        text = text.replace(kubernetes_name(STAND_IN), "{{ cookiecutter.__kubernetes_name }}")
        files[name] = text.replace(STAND_IN, "{{ cookiecutter.project_slug }}")
    return files


def main(templates: Path = TEMPLATES) -> None:
    for document in sorted(templates.glob("*/cookiecutter.json")):
        answers = json.loads(document.read_text(encoding="utf-8"))
        if answers.get("__kubernetes_name") != KUBERNETES_NAME:
            raise SystemExit(f"{document} must say: {json.dumps({'__kubernetes_name': KUBERNETES_NAME})}")
    folder = templates / SHARED / "{{cookiecutter.project_slug}}" / "serving"
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in template_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
