"""Pictures are drawn of the right frames, with every mark, and without global state."""

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from dlcexp.data.splits import Split
from dlcexp.evaluation.canvas import save_figure
from dlcexp.evaluation.examples import draw_examples
from dlcexp.evaluation.figures import Example, Skeleton, draw_example
from dlcexp.evaluation.plots import draw_bodypart_errors, draw_learning_curves

SKELETON = Skeleton(("nose", "ear", "tail"), (("nose", "ear"),), 0.6)


class Tree:
    def __init__(self, settings, heads=("bodypart",)):
        self.evaluation = settings
        self.model = SimpleNamespace(heads=heads)


def example(poses, size=(240, 320)):
    truth = np.array([[[100, 100], [120, 90], [np.nan, np.nan]]])
    names = [f"animal {number}" for number in range(len(poses))]
    return Example(np.full((*size, 3), 90, np.uint8), truth, np.array(poses), "title", names=names)


def test_worst_and_best_test_frames_are_drawn(evaluation, data, settings, tmp_path):
    written = draw_examples(evaluation, data, tmp_path / "figures", Tree(settings))
    assert [path.name for path in written] == [
        "worst-1.png",
        "worst-2.png",
        "best-1.png",
        "best-2.png",
    ]
    assert sorted(tmp_path.glob("figures/*")) == sorted(written)
    assert all(min(cv2.imread(str(path)).shape[:2]) > 300 for path in written)


def test_titles_name_frame_and_error(evaluation, data, settings, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(
        "dlcexp.evaluation.examples.save_figure",
        lambda figure, path: titles.append(figure.axes[0].get_title(loc="left")),
    )
    draw_examples(evaluation, data, tmp_path, Tree(settings))
    assert titles[0] == (
        "labeled-data/video/img11.png\n"
        "worst 1 of 5 test frames: mean error 11.0 px, 1 of 2 animals missed"
    )
    assert titles[2] == "labeled-data/video/img7.png\nbest 1 of 5 test frames: mean error 7.0 px"


@pytest.mark.parametrize(
    ("model_heads", "names"),
    [(["bodypart"], {"animal 1", "animal 2"}), (["bodypart", "identity"], {"one", "two"})],
)
def test_animals_bear_their_names_and_unique_bodyparts_none(
    evaluation, data, settings, tmp_path, monkeypatch, model_heads, names
):
    axes = []
    monkeypatch.setattr(
        "dlcexp.evaluation.examples.save_figure", lambda figure, path: axes.append(figure.axes[0])
    )
    draw_examples(evaluation, data, tmp_path, Tree(settings, model_heads))
    assert {text.get_text().partition(":")[0] for text in axes[-1].texts} == names
    crosses = [line.get_xydata() for line in axes[-1].lines if line.get_marker() == "+"]
    assert len(crosses) == 4  # the last bodypart is the unique one
    assert crosses[-1][-1].tolist() == [10, 10]


def test_training_frames_stand_in_without_test_frames(evaluation, data, settings, tmp_path):
    data.split = Split(data.split.train, ())
    settings.examples = 1
    assert len(draw_examples(evaluation, data, tmp_path, Tree(settings))) == 2


def test_points_below_pcutoff_are_hollow():
    poses = [[[101, 100, 0.9], [121, 90, 0.2], [130, 130, 0.7]]]
    axes = draw_example(example(poses), SKELETON).axes[0]
    marks = [c for c in axes.collections if len(c.get_offsets())]
    filled = [len(mark.get_facecolors()) > 0 for mark in marks]
    assert filled == [True, False, True]
    crosses = [line for line in axes.lines if line.get_marker() == "+"]
    assert [to_rgb(line.get_color()) for line in crosses] == [
        tuple(c[:3]) for c in SKELETON.colours
    ]


@pytest.mark.parametrize(
    "poses",
    [
        pytest.param(np.zeros((0, 3, 3)), id="nothing predicted"),
        pytest.param(np.full((2, 3, 3), np.nan), id="empty slots"),
        pytest.param([[[-500.0, -500, 0.9]] * 3], id="outside the image"),
        pytest.param([[[100.0, 100, 0.9]] * 3] * 9, id="more animals than colours"),
    ],
)
def test_any_prediction_can_be_drawn(poses, tmp_path):
    save_figure(draw_example(example(poses), SKELETON), tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000


def test_nothing_is_cut_off_around_a_picture(tmp_path):
    many = Skeleton(tuple(f"a_rather_long_bodypart_{n}" for n in range(30)), (), 0.6)
    long = "labeled-data/a_video_with_a_name_longer_than_any_reasonable_picture_is_wide/img1.png"
    poses = np.full((1, 30, 3), 50.0)
    frame = Example(
        np.zeros((60, 20, 3), np.uint8), poses[..., :2], poses, f"{long}\nb", names=[""]
    )
    figure = draw_example(frame, many)
    figure.canvas.draw()
    needed, page = figure.get_tightbbox(), figure.bbox_inches
    assert needed.x0 >= page.x0
    assert needed.x1 <= page.x1
    assert needed.y0 >= page.y0
    assert needed.y1 <= page.y1


def test_a_large_frame_is_cut_and_shrunk():
    poses = [[[0.0, 0, 0.9], [4000, 2900, 0.9], [130, 130, 0.7]]]
    axes = draw_example(example(poses, size=(3000, 4000)), SKELETON).axes[0]
    assert max(axes.images[0].get_array().shape) <= 900
    close = draw_example(example([[[101.0, 100, 0.9]] * 3], size=(3000, 4000)), SKELETON).axes[0]
    assert close.get_xlim()[1] - close.get_xlim()[0] == pytest.approx(160, abs=1)


def test_pyplot_holds_no_figure_afterwards():
    draw_example(example(np.zeros((0, 3, 3))), SKELETON)
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


LOSSES = "train.bodypart_heatmap,train.bodypart_total_loss,train.total_loss"
CURVES = f"""epoch,{LOSSES},lr,test.rmse,test.mAP
1,0.5,0.7,0.7,0.001,,
2,0.1,0.2,0.2,0.001,20.5,10.0
3,0.01,0.02,0.02,0.001,,
4,0.001,0.002,0.002,0.001,9.5,60.0
"""


def test_learning_curves_skip_epochs_without_a_value(tmp_path, monkeypatch):
    (tmp_path / "metrics.csv").write_text(CURVES)
    figures = []
    monkeypatch.setattr("dlcexp.evaluation.plots.save_figure", lambda f, path: figures.append(f))
    assert draw_learning_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    loss, rmse, precision = figures[0].axes
    assert [line.get_label() for line in loss.lines] == ["total loss", "bodypart heatmap"]
    assert loss.get_yscale() == "log"
    assert rmse.lines[0].get_xydata().tolist() == [[2, 20.5], [4, 9.5]]
    assert precision.lines[0].get_label() == "test"


@pytest.mark.parametrize("content", [None, "", "epoch\n1\n", "epoch,train.total_loss\n1,\n"])
def test_without_numbers_there_is_no_plot(tmp_path, content):
    if content is not None:
        (tmp_path / "metrics.csv").write_text(content)
    assert not draw_learning_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_bodyparts_are_plotted_with_the_hardest_on_top(evaluation, tmp_path, monkeypatch):
    scores = evaluation.metrics["test"]
    scores |= {"rmse_nose": 3.0, "rmse_ear": 9.0, "rmse_tail": float("nan")}
    figures = []
    monkeypatch.setattr("dlcexp.evaluation.plots.save_figure", lambda f, path: figures.append(f))
    draw_bodypart_errors(evaluation, ("nose", "ear", "tail"), tmp_path / "bodyparts.png")
    ticks = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert ticks[-2:] == ["nose", "ear"]
