"""Apply a model to the frames of an experiment and score what it finds."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from dlcexp.data.dataset import PoseDataset, Sample
from dlcexp.data.loading import PoseData
from dlcexp.evaluation.metrics import evaluate_poses, mean_pose_error
from dlcexp.evaluation.pairs import stack

type_of_split = Literal["train", "test"]
