"""No file makes a traceback, and none touches the disk: it is imported or refused in words."""

import random

import pytest
import yaml

from dlcexp.config.overrides import Override
from dlcexp.deeplabcut.to_overrides import import_config
from dlcexp.errors import UserError
from dlcexp.yaml_files import read_mapping

ODD = [
    *(None, True, False, 0, -1, 1e300, "", "x", "1e-4", "a b", "it's", "C:\\dir\\", "${x}", "???"),
    *([], {}, [[]], [1, "x"], {"type": "X"}, {"a b": 1}, {"type": None}, {"_target_": "os.system"}),
    *([{}], {"params": 3}, {"type": "SGD", "params": None}, [[1, 2], [3]], {"p": 2}),
]


def places(node, path=()):
    """Every place below a node, mappings and lists alike."""
    for name, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, name)
        if isinstance(child, dict | list):
            yield from places(child, (*path, name))


def changed(document: dict, chance: random.Random) -> None:
    """One place of the file becomes odd, is lost, or gets a neighbour."""
    place = chance.choice(list(places(document)))
    node = document
    for part in place[:-1]:
        node = node[part]
    what = chance.random()
    if what < 0.7:
        node[place[-1]] = chance.choice(ODD)
    elif what < 0.85:
        del node[place[-1]]
    elif isinstance(node, dict):
        node[chance.choice(["x", "a b", "type", "lr", "é"])] = chance.choice(ODD)


@pytest.mark.parametrize(
    "sample", ["sectioned_3.0.0/single__topdown_hrnet_w18", "flat_2024-02/single__resnet_50"]
)
def test_an_odd_file_is_imported_or_refused_in_words(
    samples, mouse_project, tmp_path, monkeypatch, sample
):
    original = read_mapping(samples / f"{sample}.yaml")
    source = tmp_path / "odd.yaml"
    monkeypatch.chdir(tmp_path)
    refused = 0
    for seed in range(15):
        chance = random.Random(seed)
        document = yaml.safe_load(yaml.safe_dump(original))
        for _ in range(chance.randint(1, 2)):
            changed(document, chance)
        source.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        try:
            import_config(source, [Override("project", mouse_project.as_posix())])
        except UserError:
            refused += 1
    assert 0 < refused < 15
    assert [path.name for path in tmp_path.iterdir()] == ["odd.yaml"]
