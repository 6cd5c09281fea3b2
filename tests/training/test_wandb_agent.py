"""W&B's own agent starts `dlcexp` as the documented sweep says; only its server is not there."""

import multiprocessing
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from training_support import offline_runs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "loggers.md"
SWEEP = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0])

# What makes the jobs of the page short; they stand before its own words.
SHORT = [
    *("model/backbone=timm", "model.backbone.model_name=test_resnet.r160_in1k"),
    *("model.backbone.feature_level=1", "device=cpu", "batch_size=4", "save_epochs=1"),
    *("data.train.crop_sampling=null", "trainer.progress_bar=false"),
]


def command(project: Path) -> list[str]:
    words = {"project=~/mouse": f"project={project.as_posix()}", "epochs=50": "epochs=1"}
    (program, *rest) = (words.get(word, word) for word in SWEEP["command"])
    return [program, *SHORT, *rest]


def chosen(model: str, lr: float) -> dict[str, Any]:
    values = {"model": model, "optimizer.lr": lr}
    assert values.keys() == SWEEP["parameters"].keys()
    return {name: {"value": value} for name, value in values.items()}


@pytest.mark.slow
def test_the_agent_drives_dlcexp(
    small_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wandb.wandb_agent import Agent

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "mice")
    monkeypatch.setenv("WANDB_SWEEP_ID", "5weep1d0")
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):  # the agent sets them
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    agent = Agent(None, multiprocessing.Queue(), sweep_id="5weep1d0")
    agent._sweep_command = command(small_project)
    order = {"run_id": "abc0", "program": SWEEP["program"], "args": chosen("heatmap", 0.002)}
    agent._command_run(order)
    assert agent._run_processes["abc0"].wait() == 0

    (folder,) = (path.parent for path in tmp_path.glob("runs/*/*/config.yaml"))
    (run,) = offline_runs(folder)
    assert (run["id"], run["project"], run["sweep"]) == ("abc0", "mice", "5weep1d0")
    assert run["config"]["optimizer.lr"] == run["config"]["optimizer"]["lr"] == 0.002
    assert SWEEP["metric"]["name"] in run["summary"]
    assert SWEEP["metric"]["name"] in {name for row in run["history"] for name in row}
    assert run["exit"] == 0
