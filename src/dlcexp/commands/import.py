# ruff: noqa: N999 (the module of a command is named as the command)
"""`dlcexp import`: what a `pytorch_config.yaml` is, as the shortest command line."""

from dlcexp.commands.arguments import wants_help
from dlcexp.errors import UserError, nearest
from dlcexp.files import expanded

HELP = """\
dlcexp import FILE [project=PATH]

Shows what a pytorch_config.yaml of any version is: the command line that composes to it, which
net_type or groups it equals, and what could not be carried. Nothing is written, nothing in the
file is run. `pytorch_config=FILE` in any command stands for that line, before your own overrides:

  dlcexp pytorch_config=FILE optimizer=sgd batch_size=4
  dlcexp export pytorch_config=FILE export.schema=dlc3    an old file for DeepLabCut 3.0.2

  project=PATH             where its project is now, if the path in it is of another machine
"""


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    files = [word for word in words if "=" not in word or word.startswith("pytorch_config=")]
    overrides = [word for word in words if word not in files]
    for word in overrides:
        if not word.startswith("project="):
            raise UserError(
                f"import takes a file and project=, not {word!r}."
                f"{nearest(word.partition('=')[0], ['project'])}"
            )
    if len(files) != 1 or files[0].startswith("-"):
        raise UserError("import takes one file: dlcexp import pytorch_config.yaml")
    from dlcexp.config.checks import check_keys, check_nodes
    from dlcexp.config.compose import compose_tree, resolve
    from dlcexp.config.overrides import command_line, parse_overrides
    from dlcexp.deeplabcut.to_overrides import FORMS, import_config

    source = expanded(files[0].removeprefix("pytorch_config="))
    if source.is_dir():
        inside = source / "pytorch_config.yaml"
        hint = f", such as {inside}" if inside.is_file() else ""
        raise UserError(f"{source} is a folder; import takes a file{hint}.")
    own = parse_overrides(overrides)
    imported = import_config(source, own)
    line = [*own, *imported.overrides]
    check_nodes(check_keys(resolve(compose_tree(line))))
    equals = f"net_type={imported.net_type}" if imported.net_type else "no net_type; its groups"
    print(f"# {source}: {FORMS[imported.schema]}; {equals}")
    print(command_line(line))
    _print_list("written for DeepLabCut, without effect here", imported.kept)
    _print_list("not carried as it is in the file", imported.notes)
    return 0


def _print_list(title: str, lines: tuple[str, ...]) -> None:
    if lines:
        print(f"\n# {title}:")
        for line in lines:
            print(f"#   {line}")
