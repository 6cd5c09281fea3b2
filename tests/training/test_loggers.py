"""A training with every logger at once, read back by what each tool reads with."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from process_support import HANG, wait_until
from training_support import FAST, offline_runs

from dlcexp.config.build import check_targets
from dlcexp.config.checks import check_nodes
from dlcexp.errors import ConfigError
from dlcexp.runs.folder import Pruned
from dlcexp.training import Run, train
from dlcexp.training.loggers import MLFlowLogger, TensorBoardLogger, close

Tree = Callable[..., DictConfig]

NAMES = {"csv": "CSV", "wandb": "Wandb", "tensorboard": "TensorBoard", "mlflow": "MLFlow"}


def loggers(*names: str, **more: Any) -> dict[str, Any]:
    """Nodes of the tree, as `logger=[...]` composes them."""
    nodes = {n: {"_target_": f"dlcexp.training.loggers.{NAMES[n]}Logger"} for n in names or NAMES}
    if "mlflow" in nodes:
        nodes["mlflow"] |= more
    return nodes


JOB = """
import sys
from dlcexp.training.loggers import MLFlowLogger, close
logger = MLFlowLogger(save_dir=sys.argv[1])
logger.log_metrics({"detector.test.mAP@50:95": 1.0, "nan": float("nan")}, step=1)
close([logger], failed=False)
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of two jobs that were told no other, begun at once: `mlflow.db` where they work."""
    folder = tmp_path_factory.mktemp("store")
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    jobs = [
        subprocess.Popen([sys.executable, "-c", JOB, name], cwd=folder, env=environment)
        for name in ("a", "b")
    ]
    assert [job.wait(HANG) for job in jobs] == [0, 0]
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def server(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real MLflow server on this machine, with a database and a folder of files."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(database, folder / "store.db")  # to make one takes seconds
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = f"sqlite:///{(folder / 'store.db').as_posix()}"
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", store, "--artifacts-destination", str(folder / "files")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (
        (folder / "log.txt").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: answers(f"{address}/health"), process, "MLflow's server")
            yield address
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=HANG):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def trained(
    server: str, small_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, str]:
    """A run of two epochs that went on for a third, and its MLflow server."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    cfg = OmegaConf.create(small_tree)
    cfg.logger = loggers(tracking_uri=server, experiment_name="mice")
    cfg.trainer.eval_interval = 1
    for epochs in (2, 3):
        cfg.epochs = epochs
        run = train(cfg, folder)
    return run, server


def mlflow_runs(uri: str, experiment: str) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id])) if found else []


def artifacts(uri: str, run: str, folder: str | None = None) -> set[str]:
    from mlflow.tracking import MlflowClient

    return {each.path for each in MlflowClient(uri).list_artifacts(run, folder)}


@pytest.mark.slow
def test_mlflow_has_one_run_with_each_epoch_once(trained: tuple[Run, str]) -> None:
    from mlflow.tracking import MlflowClient

    run, uri = trained
    (told,) = mlflow_runs(uri, "mice")
    assert (told.info.run_name, told.info.status) == ("first", "FINISHED")
    points = MlflowClient(uri).get_metric_history(told.info.run_id, "test/rmse")
    assert [point.step for point in points] == [1, 2, 3]
    assert told.data.metrics["final/test/rmse"] == pytest.approx(run.metrics["test.rmse"])
    assert told.data.tags["snapshot"] == run.metrics["snapshot"]


@pytest.mark.slow
def test_mlflow_has_the_tree_and_the_files(trained: tuple[Run, str]) -> None:
    from mlflow.tracking import MlflowClient

    run, uri = trained
    (told,) = mlflow_runs(uri, "mice")
    assert told.data.params["optimizer.lr"] == str(run.cfg.optimizer.lr)
    assert told.data.params["start"] == told.data.tags["start"] == "random"
    assert artifacts(uri, told.info.run_id) == {"config.yaml", "figures", "pytorch_config.yaml"}
    figures = {f"figures/{path.name}" for path in (run.folder / "figures").glob("*.png")}
    assert {"figures/worst-1.png", "figures/learning_curves.png"} <= figures
    assert artifacts(uri, told.info.run_id, "figures") == figures
    stored = MlflowClient(uri).download_artifacts(told.info.run_id, "pytorch_config.yaml")
    assert Path(stored).read_bytes() == (run.folder / "pytorch_config.yaml").read_bytes()


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard"), {"images": 0}).Reload()


@pytest.mark.slow
def test_tensorboard_has_each_epoch_once(trained: tuple[Run, str]) -> None:
    run, _ = trained
    read = events(run.folder)
    assert [point.step for point in read.Scalars("test/rmse")] == [1, 2, 3]
    (*_, final) = read.Scalars("final/test/rmse")
    assert final.value == pytest.approx(run.metrics["test.rmse"])
    assert (
        "batch_size: 4"
        in read.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    )


@pytest.mark.slow
def test_tensorboard_has_the_pictures_and_the_hyper_parameters(trained: tuple[Run, str]) -> None:
    run, _ = trained
    read = events(run.folder)
    assert set(read.Tags()["images"]) == {
        f"figures/{path.stem}" for path in (run.folder / "figures").glob("*.png")
    }
    assert [image.step for image in read.Images("figures/worst-1")] == [2, 3]
    content = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"optimizer.lr" in content
    assert b"start" in content


@pytest.mark.slow
def test_wandb_has_the_same_names(trained: tuple[Run, str]) -> None:
    run, _ = trained
    first, second = offline_runs(run.folder)
    assert first["id"] == second["id"]
    history = [row for each in (first, second) for row in each["history"]]
    assert [row["epoch"] for row in history if "train/total_loss" in row] == [1, 2, 3]
    names = set(events(run.folder).Tags()["scalars"])
    assert {n for n in first["history"][1] if n[0] != "_" and n != "epoch"} <= names


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of MLflow's that is a folder, which takes no time to make."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file:{(tmp_path / 'mlruns').as_posix()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


def test_an_epoch_that_is_trained_again_is_told_once(tmp_path: Path, local: str) -> None:
    from mlflow.tracking import MlflowClient

    for epochs in ((1, 2), (2, 3)):  # killed before the state of the second was stored
        both = [TensorBoardLogger(tmp_path), MLFlowLogger(save_dir=tmp_path)]
        for logger in both:
            logger.log_hyperparams({"seed": 1, "epochs": epochs[-1]})
            for epoch in epochs:
                logger.log_metrics({"train.loss": 1 / epoch}, step=epoch)
                logger.log_metrics({"detector.train.loss": 1 / epoch}, step=epoch)
        close(both, failed=True)
    (run,) = mlflow_runs(local, "dlcexp")
    assert run.info.status == "FAILED"
    history = MlflowClient(local).get_metric_history
    for name in ("train/loss", "detector/train.loss"):
        assert [p.step for p in history(run.info.run_id, name)] == [1, 2, 3]
        assert [p.step for p in events(tmp_path).Scalars(name)] == [1, 2, 3]


def test_a_run_that_starts_over_is_another_one(tree: Tree, tmp_path: Path, local: str) -> None:
    changes = {**FAST, "epochs": 1, "logger": loggers("tensorboard", "mlflow"), "resume": "never"}
    for _ in range(2):
        train(tree(changes), tmp_path / "run")
    assert len(mlflow_runs(local, "dlcexp")) == 2
    assert len(events(tmp_path / "run").Scalars("train/total_loss")) == 1


def test_a_pruned_run_has_not_failed(tree: Tree, tmp_path: Path, local: str) -> None:
    cfg = tree({**FAST, "trainer.eval_interval": 1, "logger": loggers("mlflow")})
    with pytest.raises(Pruned):
        train(cfg, tmp_path / "run", watch=lambda epoch, metrics: "others do better")
    (run,) = mlflow_runs(local, "dlcexp")
    assert run.info.status == "FINISHED"


def test_each_job_of_a_sweep_is_a_run_of_its_experiment(tmp_path: Path, local: str) -> None:
    for job in ("0", "1"):
        (tmp_path / "grid" / job).mkdir(parents=True)
    (tmp_path / "grid" / "sweep.yaml").touch()
    jobs = [MLFlowLogger(save_dir=tmp_path / "grid" / job) for job in ("0", "1")]
    for logger in jobs:
        logger.log_metrics({"loss": 1.0}, step=1)
    close(jobs, failed=False)
    assert {run.info.run_name for run in mlflow_runs(local, "grid")} == {"grid-0", "grid-1"}


@pytest.mark.slow
def test_without_a_server_the_store_is_a_database_in_the_working_folder(database: Path) -> None:
    runs = mlflow_runs(f"sqlite:///{database.as_posix()}", "dlcexp")
    assert sorted((run.info.run_name, run.info.status) for run in runs) == [
        ("a", "FINISHED"),
        ("b", "FINISHED"),
    ]
    assert all(run.data.metrics == {"detector/test.mAP_50_95": 1.0} for run in runs)


def test_a_server_that_is_not_there_is_told_before_training(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "http://me:secret@127.0.0.1:9"
    with pytest.raises(ConfigError, match=r"logger\.mlflow: http://127\.0\.0\.1:9: ") as told:
        train(tree({**FAST, "logger": loggers("mlflow", tracking_uri=address)}), tmp_path)
    assert "secret" not in str(told.value)
    assert not list(tmp_path.glob("snapshots/*"))


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_package_that_is_missing_is_told_with_its_extra(
    tree: Tree, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlcexp.training.loggers.run_logger.find_spec", lambda _: None)
    cfg = OmegaConf.to_container(tree({"logger": loggers("csv", name)}))
    with pytest.raises(ConfigError, match=rf"logger\.{name}: {name} .*'dlcexp\[{name}\]'"):
        check_nodes(cfg)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_misspelt_argument_is_told(name: str) -> None:
    node = loggers(name)[name] | {"trackin_uri": "x"}
    with pytest.raises(ConfigError, match=rf"logger\.{name}\.trackin_uri: .*save_dir"):
        check_targets(node, f"logger.{name}")
