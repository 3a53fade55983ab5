"""`tlkit deploy`: the files that run an export with TensorFlow Serving, rendered from its own facts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.errors import ExportError, ProjectError, TlkitError

if TYPE_CHECKING:
    from tlkit.cli.project import Project
    from tlkit.serving.deploy import Deployment
    from tlkit.serving.deploy_folder import DeployFolder


def deploy(
    export: Annotated[
        Path | None,
        typer.Argument(help="Version folder to serve as `stable`, or a model's folder. Default: the project's newest."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder to write the files to. Default: serving/.", metavar="DIR")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Model name in the URL. Default: the folder's name.")] = None,
    image: Annotated[
        str | None,
        typer.Option(
            help="Container image of the server, pinned by tag, digest or both.",
            metavar="NAME[:TAG][@sha256:DIGEST]",
            show_default=False,
        ),
    ] = None,
    canary: Annotated[
        int | None,
        typer.Option(
            "--canary", min=1, help="Also serve this version as `canary`. The stable version does not change."
        ),
    ] = None,
    cores: Annotated[
        int | None, typer.Option("--cores", min=1, help="CPU cores per server.", show_default=False)
    ] = None,
    monitoring: Annotated[
        bool | None,
        typer.Option(
            "--monitoring/--no-monitoring",
            help="Add alert rules, and a ServiceMonitor for the Prometheus operator.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that you edited.")] = False,
) -> None:
    """Write Compose, Kubernetes and KServe files and the server's configuration.

    Files that you edited are kept; the new version is written to NAME.new. Options that you leave out (--image, --name,
    --cores, --monitoring) keep their previous values.

    Example:  tlkit deploy                                  # the newest export
              tlkit deploy --canary 4                       # serve version 4 beside the stable version
              tlkit deploy saved_models/bees/4              # make version 4 the stable version
              tlkit deploy --monitoring                     # add alert rules
    """
    from tlkit.serving.deploy_folder import DeployFolder

    project = _project_or_none()
    if export is None and project is None:
        raise ProjectError("no tlkit project in this folder", fix="name an export: tlkit deploy EXPORT")
    target = to if to is not None else (project.root if project is not None else Path()) / "serving"
    folder = DeployFolder(target)
    base, given = _base_and_version(export if export is not None else project.export_dir)  # type: ignore[union-attr]
    stable, canary = _versions(base, given, canary, _recorded(folder, base).get("stable"))
    wanted = {"name": name, "image": image, "cores": cores, "monitoring": monitoring}
    _render(folder, base, stable, canary, wanted, project, force=force)
    print(target)


def refresh(project: Project, version: Path) -> None:
    """Render the project's serving/ again after an export; what is served stays what it was.

    The first export becomes the stable version. A project without serving/, and an export to another folder than the
    project's, are left alone.

    Args:
        project: the project.
        version: the version folder that was exported.
    """
    from tlkit.cli.output import note

    base = version.resolve().parent
    if not (project.root / "serving").is_dir() or base != project.export_dir.resolve():
        return
    try:
        _refresh(project, base, int(version.name))
    except (TlkitError, OSError) as error:  # the export is done and good, whatever became of these files
        note(f"warning: serving/ was not updated: {error}; run `tlkit deploy` to try again")


def _refresh(project: Project, base: Path, newest: int) -> None:
    from tlkit.cli.output import note
    from tlkit.serving.deploy_folder import DeployFolder

    folder = DeployFolder(project.root / "serving")
    there = {
        label: number
        for label, number in _recorded(folder, base).items()
        if (base / str(number) / "saved_model.pb").is_file()
    }
    stable = there.get("stable", newest)
    canary = there.get("canary") if there.get("canary") != stable else None
    _render(folder, base, stable, canary, {}, project, newest=newest)
    if newest not in (stable, canary):
        note(
            f"serving/ still serves version {stable}: run `tlkit deploy --canary {newest}` to serve "
            f"version {newest} beside it,"
            " or `tlkit deploy` to make it the stable version"
        )


def _render(
    folder: DeployFolder,
    base: Path,
    stable: int,
    canary: int | None,
    wanted: Mapping[str, Any],
    project: Project | None,
    newest: int | None = None,
    force: bool = False,
) -> None:
    from tlkit.cli.output import note
    from tlkit.serving.deploy import facts, label_moves, render

    before = _recorded(folder, base)
    kept = ("image", "cores", "monitoring", *(("name",) if before else ()))  # another model has another name
    chosen = {key: folder.settings[key] for key in kept if folder.settings.get(key) is not None}
    chosen |= {key: value for key, value in wanted.items() if value is not None}
    deployment = facts(base, stable=stable, canary=canary, newest=newest, to=folder.path, **chosen)
    settings = {"models": deployment.models_path, "stable": stable, "canary": canary, **chosen}
    outcome = folder.write(render(deployment), settings=settings, pristine=_pristine(project), force=force)
    _tell(folder.path, deployment, outcome)
    refused = label_moves(before, list(before.values()), deployment)
    for label in refused:
        note(
            f"running servers refuse to move the label {label} to a version that is not loaded:"
            " restart them, or serve both versions first (see README.md in the folder)"
        )


def _tell(folder: Path, deployment: Deployment, outcome: Mapping[str, str]) -> None:
    from tlkit.cli.output import note

    served = f"version {deployment.stable} as stable"
    if deployment.canary is not None:
        served += f", version {deployment.canary} as canary"
    written = sum(what == "written" for what in outcome.values())
    note(
        f"{folder}: {deployment.name}, {served}; {deployment.memory_mib} MiB per server;"
        f" {written} of {len(outcome)} files written"
    )
    for name, what in outcome.items():
        if what == "beside":
            note(f"{folder / name} was edited and is kept; the new version is {name}.new")
    kept = [name for name, what in outcome.items() if what == "kept"]
    if kept:
        note(f"edited files, kept: {', '.join(kept)}")


def _versions(base: Path, given: int | None, canary: int | None, recorded: int | None) -> tuple[int, int | None]:
    """Decide which version is stable: the one given, with a canary the one that is, otherwise the newest."""
    from tlkit.export.manifest import version_folders

    if given is not None:
        return given, canary
    there = [number for number, folder in version_folders(base).items() if (folder / "saved_model.pb").is_file()]
    if not there:
        raise ExportError(f"{base} has no version to serve", fix="run `tlkit export`")
    if canary is None:
        return there[-1], None
    others = [number for number in there if number != canary]
    if not others:
        raise ExportError(
            "a canary needs a second, stable version", received=f"only version {canary}", fix="export a new version"
        )
    return (recorded if recorded is not None and recorded in others else others[-1]), canary


def _base_and_version(path: Path) -> tuple[Path, int | None]:
    """Split what the user gave into the model's folder, and the version where it is one."""
    from tlkit.export.manifest import resolve_export, version_number

    resolve_export(path)  # says what is missing
    full = path.resolve()
    if not (full / "saved_model.pb").is_file():
        return full, None
    number = version_number(full.name)
    if number is None:
        raise ExportError(
            f"the name of {path} is not a version number, which TensorFlow Serving requires",
            allowed="FOLDER/NUMBER, such as bees/1",
            fix=f"move it to {full.name}/1",
        )
    return full.parent, number


def _recorded(folder: DeployFolder, base: Path) -> dict[str, int]:
    """Give label -> version as it was rendered last; empty where nothing was, or another model."""
    models = folder.settings.get("models")
    if not isinstance(models, str) or (folder.path / models).resolve() != base.resolve():
        return {}
    labels = {label: folder.settings.get(label) for label in ("stable", "canary")}
    return {label: version for label, version in labels.items() if isinstance(version, int)}


def _pristine(project: Project | None) -> dict[str, str]:
    """Give what the template put into the project: it has no record, since cookiecutter cannot make one."""
    import tomllib

    from tlkit.serving.deploy import Deployment, render
    from tlkit.serving.released_files import as_released

    if project is None:
        return {}
    record = tomllib.loads((project.root / ".tlkit.toml").read_text(encoding="utf-8"))
    slug = record.get("answers", {}).get("project_slug")
    if not isinstance(slug, str):
        return {}
    return render(Deployment(slug)) | as_released(project.root / "serving", slug)


def _project_or_none() -> Project | None:
    from tlkit.cli.project import find_project

    try:
        return find_project()
    except ProjectError:
        return None
