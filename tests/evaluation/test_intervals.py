"""Intervals of the error, against numbers with a known spread."""

import numpy as np
import pandas as pd
import pytest

from dlcexp.evaluation.intervals import error_interval


def records(videos: int, frames: int, keypoints: int, *, seed: int, spread: float) -> pd.DataFrame:
    """Errors around 5 px whose videos, or frames where there is one video, differ by `spread`."""
    random = np.random.default_rng(seed)
    by_video, by_frame = random.normal(0, spread, videos), random.normal(0, spread, frames)
    rows = [
        {
            "frame": f"labeled-data/video{video}/img{frame}.png",
            "error": 5 + (by_video[video] if videos > 1 else by_frame[frame]) + noise,
        }
        for video in range(videos)
        for frame in range(frames)
        for noise in random.normal(0, 0.1, keypoints)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("videos", "frames", "unit", "units"), [(1, 40, "frame", 40), (30, 5, "video", 30)]
)
def test_what_errs_together_is_drawn_together(videos, frames, unit, units):
    """The interval is as wide as that of the means, and not as that of so many keypoints."""
    table = records(videos, frames, 20, seed=0, spread=1.0)
    interval = error_interval(table)
    means = table.groupby(table.frame if videos == 1 else table.frame.str[:22]).error.mean()
    expected = 2 * 1.96 * means.std() / np.sqrt(len(means))
    assert (interval.unit, interval.units) == (unit, units)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.15)
    assert interval.low < table.error.mean() < interval.high


def test_it_holds_the_error_on_other_frames_as_often_as_it_promises():
    """The true mean of two hundred projects of 40 frames."""
    intervals = [error_interval(records(1, 40, 2, seed=seed, spread=1.0)) for seed in range(200)]
    held = sum(each.low < 5 < each.high for each in intervals)
    assert 0.89 < held / len(intervals) < 0.99


def test_keypoints_that_were_not_found_do_not_count():
    table = records(1, 10, 3, seed=1, spread=1.0)
    with_missing = pd.concat([table, table.assign(error=np.nan)])
    assert error_interval(with_missing) == error_interval(table)


def test_one_frame_has_no_interval():
    assert error_interval(records(1, 1, 9, seed=0, spread=1.0)) is None
    assert error_interval(records(1, 2, 9, seed=0, spread=1.0).assign(error=np.nan)) is None
    assert error_interval(pd.DataFrame()) is None
