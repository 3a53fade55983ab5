"""Which deployment files of an older release's new projects are still as they were made."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tlkit.serving.deploy import kubernetes_name

#: sha256 of the files of version 0.1.0, with marks where the names stood.
_DIGESTS = {
    "README.md": "6bf8a98b791e81af9c25e714bbdeee6300f60fa7790edb23443a406cd3923998",
    "batching.config": "f0e8a422523530c0a357fd9af1d7ff8960cc8950f6a7936a2a0dc4e66f92cec2",
    "compose.yaml": "4e69f1548041bda7ff0212b6b0d44c8833f5924aef32baed3a41a0dc8bc7e70e",
    "k8s/deployment.yaml": "7e4a59a5cb5102c7183e9791b56ade682d153d16de2e5e4acdd03c7d2993e885",
    "k8s/hpa-latency.yaml": "7f775edd0ee753bac3f0a9a2154618676adebe405f517f51b8308fd101cbe3cc",
    "k8s/hpa.yaml": "72be872337374eea2179a83ad5d5938872c2bd82d351326728e3bbb4a95d8391",
    "k8s/loader.yaml": "4204c8b45c2e58a9981c1c7635b9db85d1f8959c523318aaf37c65ea6108e0c7",
    "k8s/models-claim.yaml": "d758d4feacab8b418537b7fbff336f390959dff0fe8e326179995098aeb971d8",
    "k8s/networkpolicy.yaml": "22f9bc9d9e87193d8e0268b5e866542c26ee7362076055345030dc2dffd9ecfd",
    "k8s/pdb.yaml": "6a9b32b2dfcc84ef20ad7c880a9fae7e7fd4cad3c8b465ffb15da6bf1aec6434",
    "k8s/service.yaml": "a0cca3a752b7eb336a2922742060f67e0fda1a6c49255d1f860185f9589cfcad",
    "kserve.yaml": "31b6d031904c156bec475fca6e2bd721925da4bf66268bd48baf00ff161e9a6d",
    "kustomization.yaml": "c16934dc0524d9d4f2dccc2854f5d52269d5a9c3cd8ecc90bd68d80fbe3f897a",
    "models.config": "21d75e7baa806c80f6ab5e8228ed539448f31f3127c08efbac40618ba7e8cd43",
    "monitoring.config": "b67f602cc3649e906c526955bbc4f7f2c973410454080e388d34119756848051",
    "prometheus.yaml": "b57f01617fd6858e67be3ccfc9cf7fcb18c21f842c978278859144b54a7158e9",
}


def as_released(folder: Path, slug: str) -> dict[str, str]:
    """Read the files that nobody has changed since version 0.1.0 made the project.

    Args:
        folder: the project's serving/.
        slug: the model's name, which the files hold.

    Returns:
        Relative path -> content.
    """
    found = {}
    for name, digest in _DIGESTS.items():
        try:
            text = (folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        plain = text.replace(kubernetes_name(slug), "<object>").replace(slug, "<model>")
        if hashlib.sha256(plain.encode("utf-8")).hexdigest() == digest:
            found[name] = text
    return found
