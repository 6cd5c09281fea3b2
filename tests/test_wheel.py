"""A built wheel, used from an empty folder, finds its configs."""

import sys
import zipfile
from pathlib import Path

import pytest
from process_support import run_process

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_a_wheel_composes_from_an_empty_folder(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    done = run_process([*build, str(ROOT)])
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("dlcexp-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    in_repository = {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    site = tmp_path / "site" / "dlcexp" / "conf"
    assert {p.relative_to(site) for p in site.rglob("*.yaml")} == in_repository
    examples = tmp_path / "site" / "dlcexp" / "multirun_examples" / "experiment"
    assert {p.name for p in examples.iterdir()} == {
        p.name for p in (ROOT / "multirun_examples" / "experiment").iterdir()
    }
    source = ROOT / "src" / "dlcexp"
    package = tmp_path / "site" / "dlcexp"
    assert files(package) == files(source) | {Path("conf/__init__.py")}
    empty = tmp_path / "empty"
    empty.mkdir()
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import dlcexp, dlcexp.cli\n"
        f"assert dlcexp.__file__.startswith({str(tmp_path)!r}), dlcexp.__file__\n"
        "sys.exit(dlcexp.cli.main(['--cfg', 'job', '--resolve', 'net_type=dekr_w32']))"
    )
    run = [sys.executable, "-P", "-c", code]
    done = run_process(run, cwd=empty)
    assert done.returncode == 0, done.stderr
    assert "backbone_output_channels: 480" in done.stdout
    assert list(empty.iterdir()) == []


def files(folder: Path) -> set[Path]:
    """Modules, and the page of a report, relative to the folder."""
    kinds = {".py", ".css", ".jinja", ".js"}
    return {p.relative_to(folder) for p in folder.rglob("*") if p.suffix in kinds}
