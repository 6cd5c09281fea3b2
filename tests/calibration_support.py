"""Keypoints whose probability of being right is known, and differs from their confidence."""

import numpy as np
import pandas as pd

RIGHT, WRONG = 1.0, 9.0


def simulated(
    *, frames: int, bodyparts: int, seed: int, shift: float = 0.0, videos: int = 1
) -> pd.DataFrame:
    """Return records; `probability` is that of an error of `RIGHT` px and not of `WRONG` px.

    The confidence is too low, and each bodypart's more so than that of the one before.

    Args:
        frames: of all videos together.
        bodyparts: called b0, b1, ...
        seed: of the draws.
        shift: added to the logit of the probability.
        videos: folders of the frames.
    """
    random = np.random.default_rng(seed)
    tables = []
    for number in range(bodyparts):
        confidence = random.beta(6, 2, frames)
        logit = np.log(confidence / (1 - confidence))
        probability = 1 / (1 + np.exp(-(2 * logit + 0.4 * number + shift)))
        right = random.random(frames) < probability
        tables.append(
            pd.DataFrame(
                {
                    "split": "test",
                    "frame": [f"labeled-data/v{n % videos}/img{n:05d}.png" for n in range(frames)],
                    "individual": "one",
                    "bodypart": f"b{number}",
                    "confidence": confidence,
                    "error": np.where(right, RIGHT, WRONG),
                    "size": 100.0,
                    "probability": probability,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)
