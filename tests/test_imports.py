"""No module imports, directly or through others, a module that imports it."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src"
MODULES = {
    ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCES.rglob("*.py")
}


def imported(name: str, path: Path) -> set[str]:
    """The modules of ours that a module imports: inside functions and by `import_module`, too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    by_name = any(isinstance(n, ast.Name) and n.id == "import_module" for n in ast.walk(tree))
    found = {each for node in ast.walk(tree) for each in _named(node, by_name)}
    return found & MODULES.keys() - {name}


def _named(node: ast.AST, by_name: bool) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        inside = {f"{node.module}.{alias.name}" for alias in node.names}
        yield from inside & MODULES.keys() or {str(node.module)}
    elif by_name and isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        # f"dlcexp.commands.{name}" may be any module of that package.
        yield from (each for each in MODULES if each.startswith(str(node.values[0].value)))
    elif by_name and isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def test_no_module_imports_one_that_imports_it():
    graph = {name: imported(name, path) for name, path in MODULES.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names them
    assert len(order) == len(MODULES) > 200


def test_imports_by_name_are_seen():
    assert "dlcexp.commands.train" in imported("dlcexp.commands", MODULES["dlcexp.commands"])
    assert "dlcexp.training" in imported("dlcexp", MODULES["dlcexp"])


def test_only_hydra_imports_its_plugins():
    importers = {
        name
        for name, path in MODULES.items()
        if any(each.startswith("hydra_plugins") for each in imported(name, path))
    }
    assert not {name for name in importers if name.startswith("dlcexp")}


def test_modules_of_one_name_mean_one_thing():
    # Of a family of classes (`models/heads/dekr.py`, `models/targets/dekr.py`) each folder has one,
    # and a module of `commands/` bears the name of its command.
    names: dict[str, list[str]] = {}
    for module in MODULES:
        package, _, name = module.rpartition(".")
        if not package.startswith(("dlcexp.models.", "dlcexp.commands")):
            names.setdefault(name, []).append(module)
    assert [modules for modules in names.values() if len(modules) > 1] == []
