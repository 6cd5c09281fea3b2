"""The file that `project=` means: a `config.yaml` or a COCO `.json`."""

from pathlib import Path

from dlcexp.errors import ProjectError, nearest
from dlcexp.files import expanded, kind_of_folder
from dlcexp.text import listed
from dlcexp.vocabulary import PROJECT_FILE


def locate(value: str | Path) -> Path:
    """Return the config.yaml or .json that `value` means, as an absolute path."""
    try:
        path = expanded(value).resolve()
    except RuntimeError:  # ~someone who does not exist
        raise ProjectError(f"project={value}: the home folder of that user is unknown.") from None
    if path.is_dir():
        if kind := kind_of_folder(path):
            use = f"dlcexp report {path}" if kind == "sweep" else f"dlcexp evaluate run={path}"
            raise ProjectError(f"{path}: is the folder of a {kind}, not a project: {use}.")
        config = path / PROJECT_FILE
        if not config.is_file():
            raise ProjectError(_no_config(path))
        return config
    if not path.is_file():
        raise ProjectError(_no_such_path(path))
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        raise ProjectError(
            f"{path}: is neither the config.yaml of a DeepLabCut project nor a COCO .json."
            f"{_project_around(path)}"
        )
    return path


def _no_config(folder: Path) -> str:
    inside = sorted(config.parent.name for config in folder.glob(f"*/{PROJECT_FILE}"))
    if inside:
        hint = f" There is one in its folder {listed(inside)}."
    else:
        hint = _project_around(folder) or nearest(PROJECT_FILE, _names_in(folder))
    content = _content(folder)
    return f"{folder}: has no config.yaml, so it is not a DeepLabCut project; {content}{hint}"


def _no_such_path(path: Path) -> str:
    existing = next(parent for parent in path.parents if parent.is_dir())
    missing = path.relative_to(existing).parts[0]
    hint = nearest(missing, _names_in(existing))
    return f"{path}: there is no such project; {existing} has no {missing!r}.{hint}"


def _project_around(path: Path) -> str:
    parents = [parent for parent in path.parents if (parent / PROJECT_FILE).is_file()]
    return f" The project around it is {parents[0]}." if parents else ""


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _content(folder: Path) -> str:
    names = _names_in(folder)
    return f"it holds {listed(names)}." if names else "it is empty."
