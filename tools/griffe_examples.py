"""An extension of griffe for the documentation site: `Example:` in a docstring is its section of examples."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Call the section `Examples:`, as griffe's parser of Google docstrings does."""

    def on_instance(self, *, obj: griffe.Object, **more: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
