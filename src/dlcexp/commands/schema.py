"""`dlcexp schema`: the tree as a JSON schema, and as a reference page."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dlcexp.commands.arguments import take_config_dir, wants_help
from dlcexp.errors import UserError

if TYPE_CHECKING:
    from dlcexp.config.options import Option

HELP = """\
dlcexp schema > dlcexp.schema.json
dlcexp schema --reference > reference.md

Prints the JSON schema (draft 2020-12) of the tree, by which an editor completes and checks the keys
and values of your overlays. Name it in their first line (VS Code, with its YAML extension):

  # yaml-language-server: $schema=dlcexp.schema.json

  --reference              every key with type, default and meaning, as a page
  --config-dir DIR         options of your own are known, too
"""


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    as_page = "--reference" in words
    rest, config_dir = take_config_dir([word for word in words if word != "--reference"])
    if rest:
        raise UserError(f"schema takes no {rest[0]!r}; see dlcexp schema --help.")
    from dlcexp.config.options import conf_folder, read_options

    folders: list[Path] = [conf_folder(), *([config_dir] if config_dir else [])]
    options = [option for folder in folders for option in read_options(folder)]
    if as_page:
        print(_page(options), end="")
        return 0
    from dlcexp.config.json_schema import json_schema

    print(json.dumps(json_schema(options), indent=1))
    return 0


def _page(options: Iterable["Option"]) -> str:
    from dlcexp.config.compose import compose_tree
    from dlcexp.config.overrides import Override
    from dlcexp.config.reference import reference_page

    tree, top_down = (compose_tree(line) for line in ([], [Override("method", "td")]))
    for name in ("detector", "data_detector"):
        tree[name] = top_down[name]
    return reference_page(tree, options)
