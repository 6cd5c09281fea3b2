"""Check the texts of the repository for expressions that a reader has to translate.

To list the expressions found in files or folders:

    python tests/test_english.py src/dlcexp
"""

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What not to write, and what to write instead. A space matches any white space.
PATTERNS = {
    r"\b(told|tells?|telling)\b": "raise, log, print, report",
    r"\b(says?|said|unsaid)\b": "state, give, set, print",
    r"(?<!there\s)\b(is|are) no (?!longer\b)\w+": "is not a ..., are not ...; invalid",
    r"\b(can|cannot|could) be had\b": "is available",
    r"\bcannot be(?= (is|are)\b|\s*[.,;:)])": "is invalid",
    r"\b(go(es|ing)?|went|gone) on\b": "resume, continue",
    r"\bwords?\b": "override, argument, name",
    r"\bbeside\b": "next to, in addition to, along with",
    r"\b(one|\d|seconds|ms|frames|images|samples|individuals|evaluations|iterations|steps|times"
    r"|(one|a) \w+|(row|line|value|class|process)(es|s)?) an? ((training|parameter) )?"
    r"(second|line|epoch|frame|step|batch|job|device|group|pixel|milestone|turn|trial)\b": "per",
    r"\btakes? another\b": "use a different ..., choose ...",
    r"\bof (its|their|your|our|one's) own\b|\bone's own\b": "custom, separate, its",
    r"\b(stands?|stood) (in|for|at|by|beside|there|below|above|first|last)\b": "is, represents",
    r"\b(anew|nobody|affair|namesake)\b": "again, no one, concern, key of the same name",
    r"\b(otherwise than|come what may)\b": "differently from, always",
    r"\b(of no use|hopeless)\b": "has no effect, unpromising",
    r"\bmisspelt\b": "misspelled",
    r"\blimbs?\b": "edge",
    r"\b(the very|very same)\b": "the same",
    r"\b(of|within|in) so many\b": "a number of",
}
# What a docstring does not begin with.
OPENING = re.compile(r"(Whether|What|How|Which|Where|Who|Why|That|Those)\b")

CHECKED = [
    "README.md",
    "CHANGELOG.md",
    "Makefile",
    "docs",
    "conf",
    "multirun_examples",
    "benchmarks",
    "src",
]
GENERATED = "reference.md"


@dataclass(frozen=True)
class Text:
    """A comment, string or document, where it begins, and whether it is a docstring."""

    content: str
    line: int = 1
    is_docstring: bool = False

    def hits(self) -> Iterator[str]:
        """Yield the line, the expression found and its replacement."""
        for pattern, instead in _COMPILED.items():
            for found in pattern.finditer(self.content):
                line = self.line + self.content.count("\n", 0, found.start())
                yield f"{line}: {' '.join(found[0].split())!r}: {instead}"
        if self.is_docstring and (opening := OPENING.match(self.content)):
            yield f"{self.line}: docstring begins with {opening[0]!r}: Return ..., True if ..."


_COMPILED = {
    re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE): instead
    for pattern, instead in PATTERNS.items()
}


def texts_of(path: Path) -> Iterator[Text]:
    """Yield what a file writes in English, without its code."""
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _strings(ast.parse(content))
        yield from _comments(content)
    elif path.suffix == ".md":
        code = re.compile(r"^```.*?^```$|^ {4}.*?$|`[^`]*`", re.MULTILINE | re.DOTALL)
        yield Text(code.sub(lambda found: "`" + "\n" * found[0].count("\n") + "`", content))
    elif path.suffix == ".jinja":
        code = re.compile(r"\{[{%#].*?[}%#]\}|<[^>]*>", re.DOTALL)
        yield Text(code.sub(lambda found: " " + "\n" * found[0].count("\n"), content))
    else:
        yield from _marked(content)


def _marked(content: str) -> Iterator[Text]:
    """Yield the comments of a YAML file, and the comments and messages of a Makefile."""
    pieces = []
    for number, line in enumerate(content.splitlines(), 1):
        if found := re.search(r"(?:^|\s)#\s(.*)|\becho \"(.*?)\"", line):
            pieces.append((number, found[1] or found[2]))
    yield from _joined(pieces)


def _comments(content: str) -> Iterator[Text]:
    """Yield the comments of a Python file."""
    tokens = tokenize.generate_tokens(StringIO(content).readline)
    yield from _joined(
        [
            (token.start[0], token.string.lstrip("# "))
            for token in tokens
            if token.type == tokenize.COMMENT
        ]
    )


def _joined(pieces: list[tuple[int, str]]) -> Iterator[Text]:
    """Join the comments of consecutive lines, so that an expression may span them."""
    ends = [i for i, ((a, _), (b, _)) in enumerate(pairwise(pieces), 1) if b != a + 1]
    for start, end in pairwise([0, *ends, len(pieces)]):
        if start < end:
            yield Text("\n".join(text for _, text in pieces[start:end]), pieces[start][0])


def _strings(tree: ast.Module) -> Iterator[Text]:
    """Yield the docstrings and other strings of a Python file; of an f-string, what is constant."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node) is not None
        if isinstance(node.body[0], ast.Expr)
    }
    parts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= set(node.values)
            yield Text("".join(_constant(part) for part in node.values), node.lineno)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield Text(node.value, node.lineno, node in docstrings)


def _constant(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "{}"


def files_in(place: Path) -> list[Path]:
    """Return the checked files of a folder, or the file itself."""
    if place.is_file():
        return [place]
    names = ("*.md", "*.yaml", "*.py", "*.jinja")
    paths = (path for name in names for path in place.rglob(name))
    return sorted(path for path in paths if path.name != GENERATED)


def hits_in(place: Path) -> list[str]:
    """Return the expressions found in a file or folder, one line for each."""
    return [
        f"{path}:{hit}"
        for path in files_in(place)
        for text in texts_of(path)
        for hit in text.hits()
    ]


@pytest.mark.parametrize("name", CHECKED)
def test_a_text_needs_no_translation(name):
    assert files_in(ROOT / name)
    assert hits_in(ROOT / name) == []


@pytest.mark.parametrize(
    ("name", "content", "expressions"),
    [
        ("a.md", "A mistake is\ntold.\n\n    told\n\n`told`", ["2: 'told'"]),
        ("a.yaml", "told: 1  # the sweep goes\n# on here", ["1: 'goes on'"]),
        ("Makefile", 'told:\n\t@echo "takes another folder"', ["2: 'takes another'"]),
        ("a.py", 'told = f"{1} is no {2}number"  # one row an epoch', ["1: 'one row an epoch'"]),
        ("a.py", 'def f():\n    """Whether it is."""', ["2: docstring begins with 'Whether'"]),
        ("a.py", 'x = "Whether"; y = f"{x} of frames a second"', ["1: 'frames a second'"]),
        ("a.jinja", "<p word=1>{{ word }} a limb</p>", ["1: 'limb'"]),
    ],
)
def test_an_expression_is_found_in_prose_and_not_in_code(tmp_path, name, content, expressions):
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = [hit.removeprefix(f"{tmp_path / name}:") for hit in hits_in(tmp_path / name)]
    assert [hit.rpartition(": ")[0] for hit in found] == expressions


if __name__ == "__main__":
    lines = [hit for place in sys.argv[1:] for hit in hits_in(Path(place))]
    print(*lines, f"{len(lines)} in all", sep="\n")
