"""The error by the number of labelled frames, against numbers drawn from a known law."""

import math
from pathlib import Path

import numpy as np
import pytest
from sweep_support import write_run

from dlcexp.reports.sweep_page import report_page
from dlcexp.results.label_curve import LabelCurve, label_curves
from dlcexp.results.leaderboard import leaderboard
from dlcexp.results.read_sweep import Sweep, read_sweep
from dlcexp.text import number

SIZES = (10, 20, 40)


def write_sweep(folder: Path, law, *, seeds: int = 2, changes=None, number: int = 0) -> Sweep:
    """Runs whose error is `law(frames, seed)`, their epochs of equally many steps."""
    for frames in SIZES:
        for seed in range(seeds):
            values = {"split.train_frames": frames, "seed": seed, "epochs": 4000 // frames}
            values |= changes or {}
            metrics = {"test.mAP": 50.0, "test.rmse": law(frames, seed)}
            write_run(folder / str(number), values, metrics=metrics)
            number += 1
    return read_sweep(folder, metric="test.rmse")


def test_a_law_is_found_and_carried_on(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(1, 0.02, (100, 4))
    sweep = write_sweep(tmp_path, lambda n, seed: (3 + 30 * n**-0.7) * noise[n, seed], seeds=4)
    (curve,) = label_curves(sweep)
    assert curve.sizes == list(SIZES)
    assert curve.falls
    assert curve.at(20).value == pytest.approx(3 + 30 * 20**-0.7, rel=0.02)
    expected, truth = curve.at(80), 3 + 30 * 80**-0.7
    assert expected.value == pytest.approx(truth, rel=0.05)
    assert expected.low < truth < expected.high
    text = " ".join(leaderboard(sweep, width=200).split())
    assert "test.rmse over 3 numbers of labelled frames falls: twice the 40 frames would" in text
    assert f"would bring {number(curve.at(40).value)} to about {number(expected.value)} px" in text
    assert "What more labels would bring" in report_page(sweep)


@pytest.mark.parametrize(("floor", "most"), [(0, 0.15), (3, 0.05), (8, 0.05)])
def test_the_limits_hold_95_percent_of_runs(floor: float, most: float) -> None:
    """Of many sweeps over a known law with 6 % between repeats, floors unknown to the fit."""
    random = np.random.default_rng(1)

    def run(frames: int) -> float:
        return (floor + 20 * frames**-0.6) * math.exp(random.normal(0, 0.06))

    inside, found = 0, []
    for _ in range(60):
        points = tuple((frames, run(frames)) for frames in (12, 23, 46) for _ in range(2))
        expected = LabelCurve((), {}, "test.rmse", points, -1.0, 0.1).at(92)
        inside += expected.low < run(92) < expected.high
        found.append(expected.value)
    assert inside / 60 >= 0.8
    assert np.mean(found) == pytest.approx(floor + 20 * 92**-0.6, rel=most)


def test_equal_runs_do_not_promise_certainty() -> None:
    points = tuple((frames, 40 * frames**-0.5) for frames in SIZES)
    expected = LabelCurve((), {}, "test.rmse", points, -0.5, 0.0).at(80)
    assert expected.high / expected.low > 1.2


def test_each_recipe_has_its_own_curve_the_best_first(tmp_path: Path) -> None:
    write_sweep(tmp_path, lambda n, s: (9 + s) * n**-0.2, changes={"optimizer.lr": 0.1})
    sweep = write_sweep(
        tmp_path, lambda n, s: (9 + s) * n**-0.6, changes={"optimizer.lr": 0.2}, number=6
    )
    curves = label_curves(sweep)
    assert [list(curve.values.values()) for curve in curves] == [[0.2], [0.1]]
    assert [round(curve.slope, 6) for curve in curves] == [-0.6, -0.2]
    assert "test.rmse of optimizer.lr=0.2 over" in leaderboard(sweep, width=250)


def test_an_error_that_does_not_fall_promises_nothing(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, lambda n, seed: 5 + (n + seed) % 3)
    (curve,) = label_curves(sweep)
    assert not curve.falls
    text = " ".join(leaderboard(sweep, width=200).split())
    assert "does not fall measurably" in text
    assert "would bring" not in text


def test_two_sizes_are_no_curve(tmp_path: Path) -> None:
    for seed, frames in enumerate((10, 10, 20, 20)):
        values = {"split.train_frames": frames, "seed": seed}
        write_run(tmp_path / str(seed), values, metrics={"test.rmse": 10.0 / frames})
    sweep = read_sweep(tmp_path, metric="test.rmse")
    assert label_curves(sweep) == []
    assert "What more labels would bring" not in report_page(sweep)
