# ruff: noqa: N999 (the module of a command is named as the command)
"""`dlcexp import`: a `pytorch_config.yaml` as the shortest command line."""

from pathlib import Path

from dlcexp.commands.settings import PATH, PROJECT, Command, Setting
from dlcexp.errors import UserError
from dlcexp.vocabulary import POSE_CONFIG

COMMAND = Command(
    name="import",
    about="""
        Shows what a pytorch_config.yaml of any version amounts to: the command line that composes
        to it, the net_type or groups that it equals, and what could not be imported. Nothing is
        written, and nothing in the file is run. In any command `pytorch_config=FILE` means that
        line, with your own overrides after it.
    """,
    settings=(
        Setting(
            "pytorch_config",
            PATH,
            "a pytorch_config.yaml of any version",
            shown="FILE",
            keyword="file",
            required=True,
            positional=True,
        ),
        Setting("project", PROJECT, "where its project is now, if its path has changed"),
    ),
    examples=(
        "dlcexp import pytorch_config.yaml",
        "dlcexp pytorch_config=FILE optimizer=sgd batch_size=4",
        "dlcexp export pytorch_config=FILE export.schema=dlc3    an old file for DeepLabCut 3.0.2",
    ),
)


def run(file: Path, project: str | None) -> int:
    """Print the command line, and what the file has that it has not."""
    from dlcexp.config.checks import check_keys, check_nodes
    from dlcexp.config.compose import compose_tree, resolve
    from dlcexp.config.overrides import Override, command_line
    from dlcexp.deeplabcut.to_overrides import FORMS, import_config

    if file.is_dir():
        inside = file / POSE_CONFIG
        hint = f", such as {inside}" if inside.is_file() else ""
        raise UserError(f"{file} is a folder; import takes a file{hint}.")
    overrides = [] if project is None else [Override("project", project)]
    imported = import_config(file, overrides)
    line = [*overrides, *imported.overrides]
    check_nodes(check_keys(resolve(compose_tree(line))))
    equals = f"net_type={imported.net_type}" if imported.net_type else "no net_type; its groups"
    print(f"# {file}: {FORMS[imported.schema]}; {equals}")
    print(command_line(line))
    _print_list("written for DeepLabCut, without effect here", imported.kept)
    _print_list("imported differently from the file", imported.notes)
    return 0


def _print_list(title: str, lines: tuple[str, ...]) -> None:
    if lines:
        print(f"\n# {title}:")
        for line in lines:
            print(f"#   {line}")
