"""Run the hook of the same name in templates/_shared."""

import json
import os
import runpy
import sys
from pathlib import Path

# A list of pairs, since tojson sorts the keys of an object.
ANSWERS = dict(json.loads(r"""{{ cookiecutter.items() | list | tojson }}"""))
# cookiecutter runs in the template, as /proc shows; without /proc, a relative path starts where it was started.
output = Path(ANSWERS["_output_dir"])
starts = (Path(os.environ.get("PWD", ".")), output, *output.parents)
for template in (Path(f"/proc/{os.getppid()}/cwd"), *(start / ANSWERS["_repo_dir"] for start in starts)):
    shared = template.resolve().parent / "_shared"
    if shared.is_dir():
        runpy.run_path(str(shared / "hooks" / "post_gen_project.py"), {"ANSWERS": ANSWERS})
        sys.exit()
sys.exit("error: the folder _shared beside the template is not found; clone the repository and give an absolute path")
