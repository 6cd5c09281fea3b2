"""YAML and JSON as plain values: our own files, a project's config.yaml, and files of strangers.

In a file of a stranger (`read_mapping`) nothing can run, name or repeat things, and scalars are
those of YAML 1.2, which DeepLabCut reads and writes: `1e-4` is a number, `no` a string.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from dlcexp.errors import ProjectError
from dlcexp.text import first_line
from dlcexp.trees import join, nodes

# DeepLabCut's own files have up to 30 kB, 4,000 values and 12 levels.
MAX_BYTES = 4_000_000
MAX_VALUES = 100_000
MAX_DEPTH = 40

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INDENTED = re.compile(rf"^[ ?-]{{{MAX_DEPTH}}}", re.M)
_COMMENT = re.compile(r"\s#\s*(.*)$")
_HYDRA_KEY = re.compile(r"_\w*_")
_QUOTED_PATH = re.compile(r'^(\s*[\w-]*path[\w-]*\s*:\s*)"([^"\']*\\[^"\']*)"(\s*(?:#.*)?)$', re.M)


class _KeysOnce:
    """Of a loader in which no key stands twice, as in that of DeepLabCut."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                problem = f"the key {name!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if key.tag != "tag:yaml.org,2002:merge":
                seen.add(name)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)  # type: ignore[misc]
        return mapping


class _AllText(_KeysOnce, getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # type: ignore[misc]
    """A loader in which every scalar is text."""


class _Loader(_KeysOnce, _PARSER):  # type: ignore[misc, valid-type]
    """A safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML reads it from the class)


def _scalars() -> Iterator[tuple[str, str, str]]:
    """Yield type, form and first characters of the scalars that are not text."""
    yield "bool", r"true|True|TRUE|false|False|FALSE", "tTfF"
    yield "int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"
    number = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
    yield "float", rf"{number}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.0123456789"
    yield "null", r"~|null|Null|NULL|", "~nN\0"
    yield "merge", r"<<", "<"


for _kind, _form, _first in _scalars():
    for _character in _first:
        _Loader.yaml_implicit_resolvers.setdefault("" if _character == "\0" else _character, [])
        _Loader.yaml_implicit_resolvers["" if _character == "\0" else _character].append(
            (f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_form})\Z"))
        )


def _whole_number(loader: Any, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    bases = {"0o": 8, "0x": 16}
    return int(text[2:], bases[text[:2]]) if text[:2] in bases else int(text)


def _number(loader: Any, node: yaml.ScalarNode) -> float:
    text = str(loader.construct_scalar(node)).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


class _Dumper(yaml.SafeDumper):
    """Writes a node that is in two places twice, not as an anchor and an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def read_yaml(source: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        ProjectError: it cannot be read, is not UTF-8, or is not YAML.
    """
    return parse_yaml(read_text(source), source)


def read_json(source: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file.

    Raises:
        ProjectError: it cannot be read, is not JSON, or is not a mapping.
    """
    try:
        content = json.loads(read_text(source))
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"{source}: is not valid JSON: {first_line(error)}.") from error
    if not isinstance(content, dict):
        raise ProjectError(f"{source}: is not a mapping.")
    return content


def read_as_text(source: Path) -> Any:
    """Return the content of a YAML file with every scalar as text.

    A bodypart called `no`, `1` or `1e5` keeps its name, as in the YAML 1.2 that DeepLabCut reads.

    Raises:
        ProjectError: as `read_yaml`.
    """
    return parse_yaml(read_text(source), source, _AllText)


def parse_yaml(text: str, source: Path, loader: Any = _PARSER) -> Any:
    """Parse the text of a YAML file; no tag in it can make an object.

    Args:
        text: of the file.
        source: where the text is from, for messages.
        loader: of PyYAML, safe.

    Raises:
        ProjectError: it is not YAML, is too deep, or its aliases amount to more values than a file
            can have.
    """
    # Aliases can repeat an anchor without end; every level takes a bracket or a column.
    brackets = text.count("[") + text.count("{")
    suspicious = "&" in text or brackets > MAX_DEPTH or _INDENTED.search(text)
    try:
        if suspicious:
            refuse_excess(text, source, with_tags=True)
        return yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _invalid(error, source) from error


def comments_in(text: str) -> dict[str, str]:
    """Return the comment on the line of each key, by the key's dotted path without list indices."""
    lines, found = text.splitlines(), {}
    for path, key, value in _keys(yaml.compose(text, Loader=_PARSER), ""):
        line = key.start_mark.line
        scalar = isinstance(value, yaml.ScalarNode) and value.end_mark.line == line
        rest = lines[line][(value if scalar else key).end_mark.column :]
        if comment := _COMMENT.search(rest):
            parts = (part for part in path.split(".") if not part.isdecimal())
            found[".".join(parts)] = comment[1].strip()
    return found


def lines_of_keys(text: str) -> dict[str, int]:
    """Return the line, from 1, of each key and each member of a list, by dotted path."""
    document = yaml.compose(text, Loader=_PARSER)
    return {path: key.start_mark.line + 1 for path, key, _ in _keys(document, "")}


def _keys(node: Any, path: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """Yield path, key and value of each key below a node; the key of a list's member is itself."""
    if isinstance(node, yaml.MappingNode):
        children = [(join(path, key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(join(path, index), child, child) for index, child in enumerate(node.value)]
    else:
        return
    for full, key, value in children:
        yield full, key, value
        yield from _keys(value, full)


def dump_yaml(content: Any) -> str:
    """Return plain mappings, lists and scalars as YAML, in the order of their keys."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def read_text(source: Path) -> str:
    """Return the text of a file, without a byte order mark and with Unix line ends.

    Raises:
        ProjectError: it cannot be read, or is not UTF-8.
    """
    with _reading(source):
        raw = source.read_bytes()
        encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        return raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


@contextmanager
def _reading(source: Path) -> Iterator[None]:
    """Turn what can go wrong while a file is read into a message."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ProjectError(
            f"{source}: is not UTF-8 text (byte {error.start}); save it as UTF-8."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ProjectError(f"{source}: cannot be read: {reason}.") from None


def _invalid(error: Exception, source: Path) -> ProjectError:
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or first_line(error)
    return ProjectError(f"{source}{line}: is not valid YAML: {problem}.")


def read_mapping(source: Path) -> dict[str, Any]:
    """Read the plain mappings, lists and scalars of a YAML file.

    Byte order marks, CRLF, comments and double-quoted Windows paths are taken; so are tabs, one
    for two spaces.

    Raises:
        ProjectError: the file is missing, too large or too deep, is not YAML or not a mapping, or
            holds what could make an object or call something: tags, `_target_`, interpolations.
    """
    text = _text(source)
    try:
        document = _load(text, source)
    except yaml.YAMLError as first:
        try:
            document = _load(_mended(text), source)
        except yaml.YAMLError:
            raise _invalid(first, source) from None
    if not isinstance(document, dict):
        what = "is empty" if document is None else "has no keys"
        raise ProjectError(f"{source}: {what}; it must be a mapping like a pytorch_config.yaml.")
    _refuse_commands(document, source)
    return document


def _text(source: Path) -> str:
    """Return the text of a stranger's file, unless it is larger than such a file can be."""
    with _reading(source):
        if not source.is_file():
            what = "is a folder" if source.is_dir() else "there is no such file"
            raise ProjectError(f"{source}: {what}.")
        if source.stat().st_size > MAX_BYTES:
            raise ProjectError(
                f"{source}: has {source.stat().st_size:,} bytes; a pytorch_config.yaml has at most "
                f"{MAX_BYTES:,}."
            )
    return read_text(source)


def _load(text: str, source: Path) -> Any:
    refuse_excess(text, source)
    try:
        return yaml.load(text, Loader=_Loader)
    except (ValueError, RecursionError, OverflowError, TypeError) as error:
        raise ProjectError(f"{source}: has a value that cannot be read: {error}.") from None


def _mended(text: str) -> str:
    """The text with tabs as spaces, and Windows paths in quotes that leave backslashes alone."""
    text = _QUOTED_PATH.sub(r"\1'\2'\3", text)
    indents = (re.match(r"[ \t]*", line) for line in text.split("\n"))
    lines = zip(text.split("\n"), indents, strict=True)
    return "\n".join(
        indent[0].replace("\t", "  ") + line[indent.end() :].replace("\t", " ")
        for line, indent in lines
        if indent
    )


def refuse_excess(text: str, source: Path, *, with_tags: bool = False) -> None:
    """Stop at tags unless they are allowed, at depth, and at more values than DeepLabCut writes.

    Reads the events of the parser, which cost no more than the text is long; an alias counts as
    many values as its anchor.
    """
    sizes: dict[str, int] = {}
    open_anchors: list[tuple[str | None, int]] = []
    values = 0
    for event in yaml.parse(text, Loader=_PARSER):
        where = f"{source}, line {event.start_mark.line + 1 if event.start_mark else 1}"
        tag, anchor = getattr(event, "tag", None), getattr(event, "anchor", None)
        if tag and not with_tags:
            raise ProjectError(f"{where}: the tag {tag!r} is refused; a file holds values only.")
        if isinstance(event, yaml.AliasEvent):
            values += sizes.get(anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if anchor:
                sizes[anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            values += 1
            open_anchors.append((anchor, values))
            if len(open_anchors) > MAX_DEPTH:
                raise ProjectError(f"{where}: is nested more than {MAX_DEPTH} deep.")
            if anchor:
                sizes[anchor] = MAX_VALUES + 1  # an alias inside it would repeat without end
        elif isinstance(event, yaml.CollectionEndEvent):
            name, before = open_anchors.pop()
            if name:
                sizes[name] = values - before + 1
        if values > MAX_VALUES:
            raise ProjectError(f"{where}: has more than {MAX_VALUES:,} values.")


def _refuse_commands(document: dict[Any, Any], source: Path) -> None:
    """Stop at what Hydra or OmegaConf would act on: the file is data."""
    for path, node in nodes(document):
        for name in node if isinstance(node, dict) else ():
            full = join(path, name)
            if not isinstance(name, str):
                raise ProjectError(f"{source}: {full}: a key must be text, not {name!r}.")
            if _HYDRA_KEY.fullmatch(name):
                raise ProjectError(f"{source}: {full}: {name!r} is refused in an imported file.")
            _refuse_text(name, f"{source}: {full}")
        if isinstance(node, str):
            _refuse_text(node, f"{source}: {path}")


def _refuse_text(text: str, place: str) -> None:
    if "${" in text or text == "???":
        raise ProjectError(
            f"{place}: {_shown(text)} is refused; a file holds values, no interpolations."
        )
    if "\0" in text:
        raise ProjectError(f"{place}: {_shown(text)} holds a NUL, which no text has.")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
