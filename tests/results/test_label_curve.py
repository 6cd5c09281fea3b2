"""The error by the number of labelled frames, against numbers drawn from a known law."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t
from sweep_support import write_run

from dlcexp.reports.sweep_page import report_page
from dlcexp.results.label_curve import label_curves
from dlcexp.results.leaderboard import leaderboard
from dlcexp.results.read_sweep import Sweep, read_sweep

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


def test_a_power_law_is_found_and_carried_on(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(1, 0.02, (100, 4))
    sweep = write_sweep(tmp_path, lambda n, seed: 40 * n**-0.5 * noise[n, seed], seeds=4)
    (curve,) = label_curves(sweep)
    assert curve.sizes == list(SIZES)
    assert curve.exponent == pytest.approx(-0.5, abs=0.03)
    assert curve.falls
    expected = curve.at(80)
    assert expected.value == pytest.approx(40 * 80**-0.5, rel=0.05)
    assert expected.low < 40 * 80**-0.5 < expected.high
    text = " ".join(leaderboard(sweep, width=200).split())
    assert "test.rmse over 3 numbers of labelled frames falls as frames^-0.5" in text
    assert "twice the 40 frames would bring 6." in text
    assert "What more labels would bring" in report_page(sweep)


def test_the_limits_are_those_of_the_textbook(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).normal(1, 0.1, (100, 2))
    sweep = write_sweep(tmp_path, lambda n, seed: 40 * n**-0.5 * noise[n, seed])
    (curve,) = label_curves(sweep)
    x, y = np.log(np.array(curve.points)).T
    design = np.stack([np.ones_like(x), x], axis=1)
    (coefficients, (squares,), _, _) = np.linalg.lstsq(design, y, rcond=None)
    new = np.array([1, math.log(80)])
    variance = squares / (len(x) - 2) * (1 + new @ np.linalg.inv(design.T @ design) @ new)
    margin = t.ppf(0.975, len(x) - 2) * math.sqrt(variance)
    expected = curve.at(80)
    assert math.log(expected.value) == pytest.approx(new @ coefficients)
    assert math.log(expected.high) == pytest.approx(new @ coefficients + margin)
    assert math.log(expected.low) == pytest.approx(new @ coefficients - margin)


def test_each_recipe_has_its_own_curve_the_best_first(tmp_path: Path) -> None:
    write_sweep(tmp_path, lambda n, s: (9 + s) * n**-0.2, changes={"optimizer.lr": 0.1})
    sweep = write_sweep(
        tmp_path, lambda n, s: (9 + s) * n**-0.6, changes={"optimizer.lr": 0.2}, number=6
    )
    curves = label_curves(sweep)
    assert [list(curve.values.values()) for curve in curves] == [[0.2], [0.1]]
    assert [round(curve.exponent, 6) for curve in curves] == [-0.6, -0.2]
    assert "test.rmse of optimizer.lr=0.2 over" in leaderboard(sweep, width=250)


def test_an_error_that_does_not_fall_promises_nothing(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, lambda n, seed: 5 + (n + seed) % 3)
    (curve,) = label_curves(sweep)
    assert not curve.falls
    text = " ".join(leaderboard(sweep, width=200).split())
    assert "does not fall measurably" in text
    assert "would bring" not in text


def test_two_sizes_are_no_curve(tmp_path: Path) -> None:
    for number, frames in enumerate((10, 10, 20, 20)):
        values = {"split.train_frames": frames, "seed": number}
        write_run(tmp_path / str(number), values, metrics={"test.rmse": 10.0 / frames})
    sweep = read_sweep(tmp_path, metric="test.rmse")
    assert label_curves(sweep) == []
    assert "What more labels would bring" not in report_page(sweep)
