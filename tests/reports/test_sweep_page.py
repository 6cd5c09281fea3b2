"""`report.html`: whole, self-contained, safe, with the numbers of the sweep; in a real browser."""

import cv2
import numpy as np
import pytest
from page_support import Page, browser, told_by
from plotly.offline import get_plotlyjs
from sweep_support import write_folds, write_run

from dlcexp.reports.sweep_page import commands, report_page, write_report
from dlcexp.results.read_sweep import read_sweep

ATTACK = "</script><script>document.title='broken in'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two recipes over five folds with pictures, and a job that failed with a nasty message."""
    folds = write_folds(tmp_path_factory.mktemp("sweep"))
    picture = np.random.default_rng(0).integers(0, 255, (1200, 1600, 3), np.uint8)
    for number in (4, 9):
        (folds / str(number) / "figures").mkdir()
        for name in ("best-1", "worst-1"):
            cv2.imwrite(str(folds / str(number) / "figures" / f"{name}.png"), picture)
    status = {"status": "failed", "kind": "diverged", "error": ATTACK}
    write_run(folds / "10", {"optimizer.lr": 5.0, "split.fold": 0}, status=status)
    (folds / "10" / "log.txt").write_text(f"epoch 1\nTraceback: {ATTACK}\n")
    return read_sweep(folds)


@pytest.fixture(scope="module")
def page(sweep):
    return Page(report_page(sweep).replace(get_plotlyjs(), ""))


def test_nothing_is_fetched_from_anywhere(page):
    sources = page.values("src") + page.values("href")
    assert sources
    assert all(source.startswith("data:") for source in sources)
    (policy,) = [v for _, n, v in page.attributes if n == "content" and "default-src" in v]
    assert "default-src 'none'" in policy


def test_no_text_of_a_run_becomes_markup(page):
    assert ("img", "onerror", "alert(1)") not in page.attributes
    assert page.text.count(ATTACK) == 2  # the error, and the end of its log


def test_it_is_readable_without_eyes_and_mouse(page):
    identifiers = page.values("id")
    assert len(identifiers) == len(set(identifiers))
    assert set(page.values("aria-labelledby")) <= set(identifiers)
    images = [
        i for i, (tag, name, _) in enumerate(page.attributes) if (tag, name) == ("img", "src")
    ]
    assert len([v for tag, n, v in page.attributes if (tag, n) == ("img", "alt") and v]) == len(
        images
    )
    assert ("html", "lang", "en") in page.attributes


def test_it_says_what_is_best_and_how_sure_that_is(page):
    for words in (
        "optimizer.lr=0.01",
        "76.00 ± 5.70",
        "p=0.18, n=5",
        "11 jobs: 10 completed, 1 failed",
        "dlcexp best",
        "diverged",
    ):
        assert words in page.text


def test_it_states_the_start_of_all_runs_or_of_each(page, tmp_path):
    assert "start: random" in page.text
    assert page.text.count("start") == 1  # no column
    for number, weights in enumerate((None, "hf://timm/resnet50_gn.a1h_in1k") * 2):
        changes = {"model.backbone.weights": weights, "seed": number}
        words = [f"seed={number}"]
        write_run(tmp_path / str(number), changes, words, metrics={"test.mAP": number})
    mixed = Page(report_page(read_sweep(tmp_path)).replace(get_plotlyjs(), ""))
    assert "jobs 0,2 started from random weights" in mixed.text
    assert mixed.text.count("ImageNet, resnet50_gn.a1h_in1k") == 3  # a recipe, two jobs


def test_the_charts_hold_the_numbers_of_the_sweep(page, sweep):
    kinds = [trace["type"] for figure in page.json for trace in figure["data"]]
    assert {"bar", "scatter", "parcoords"} <= set(kinds)
    scores = {job.metric("test.mAP") for job in sweep.jobs if job.status == "completed"}
    drawn = [t for f in page.json for t in f["data"] if t["type"] == "parcoords"]
    assert set(drawn[0]["dimensions"][-1]["values"]) == scores
    curves = [
        trace
        for figure in page.json
        if "'text': 'train.total_loss'" in str(figure["layout"].get("yaxis"))
        for trace in figure["data"]
    ]
    assert len(curves) == 10
    assert all((trace["x"], trace["y"]) == ([1, 2], [1, 0.5]) for trace in curves)


def test_pictures_are_small_and_of_the_best_and_the_worst_on_the_same_fold(page, sweep):
    images = [v for tag, name, v in page.attributes if (tag, name) == ("img", "src")]
    assert len(images) == 4
    assert max(map(len, images)) < 700_000  # noise, which no picture of a run is
    assert "Best: job 9" in page.text
    assert "Worst: job 4" in page.text


@pytest.mark.parametrize("status", ["queued", "running", "failed"])
def test_without_any_result_there_is_a_page_too(tmp_path, status):
    write_run(tmp_path / "0", status={"status": status})
    page = Page(report_page(read_sweep(tmp_path)))
    assert status in page.text
    assert "effects" not in page.values("id")


def test_one_run_alone_has_a_page_without_comparisons(tmp_path):
    write_run(tmp_path / "0", metrics={"test.mAP": 3.0})
    page = Page(report_page(read_sweep(tmp_path)))
    assert "answer" in page.values("id")
    assert "effects" not in page.values("id")


SCRIPT = """
Object.assign(told, { orders: {}, title: document.title });
const rows = () => [...document.querySelectorAll("#recipes tbody tr")];
const column = (i) => rows().map((row) => row.cells[i].textContent);
document.querySelectorAll("#recipes th button").forEach((button, i) => {
  button.click();
  const rising = column(i);
  button.click();
  told.orders[button.textContent] = [rising, column(i)];
});
"""


@pytest.mark.slow
def test_in_a_browser_charts_are_drawn_and_headings_sort(sweep, tmp_path):
    program = browser()
    path = tmp_path / "report.html"
    write_report(sweep, path)
    told = told_by(program, path, SCRIPT)
    assert told["errors"] == []
    assert "broken" not in told["title"]
    assert told["charts"] > 5
    assert not told["wide"]
    rising, falling = told["orders"]["test.mAP"]
    assert rising[:2] == ["74.70 ± 4.92", "76.00 ± 5.70"]
    assert falling[:2] == rising[1::-1]
    assert rising[2] == falling[2] == "–"  # without a result, it stays last
    assert told["orders"]["optimizer.lr"][0] == ["0.001", "0.01", "5"]


def test_deeplabcut_is_not_offered_a_model_that_it_cannot_build(tmp_path):
    for name, is_theirs in {"ResNet": True, "TimmBackbone": False}.items():
        sweep = read_sweep(write_folds(tmp_path / name))
        target = f"dlcexp.models.backbones.{name}"
        sweep.best_job.tree["model"] = {"backbone": {"_target_": target}}
        told = {word for _, command in commands(sweep) for word in command.split()}
        assert "evaluate" in told
        assert ("install" in told) == ("--export" in told) == is_theirs
