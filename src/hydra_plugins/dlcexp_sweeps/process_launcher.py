"""`hydra/launcher=processes`: warm processes of this machine."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class ProcessLauncher(Launcher):
    """Runs each job in a process that lives until a job takes it along.

    `launch` may be called from several threads at once, `n_jobs` of them at best.

    Args:
        n_jobs: jobs at the same time; None: one, or one for each group of CUDA devices.
        devices: CUDA devices that a job has to itself, where there are several.

    Attributes:
        takes_single_jobs: True: it can be given one job at a time, from `n_jobs` threads.
    """

    takes_single_jobs = True

    def __init__(self, n_jobs: int | None = None, devices: int = 1) -> None:
        from dlcexp.data.loading_processes import JOBS
        from dlcexp.sweeps.devices import VISIBLE, groups_of_machine

        groups = groups_of_machine(devices)
        if len(groups) == 1:
            groups = []  # all there is, for whichever job
        self.n_jobs = n_jobs or max(1, len(groups))
        self._slots: SimpleQueue[_Slot] = SimpleQueue()
        self._all = [
            _Slot(
                {JOBS: str(self.n_jobs)}
                | ({VISIBLE: groups[number % len(groups)]} if groups else {})
            )
            for number in range(self.n_jobs)
        ]
        for slot in self._all:
            self._slots.put(slot)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Remember what jobs are made of."""
        self._context, self._function, self._config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs, as many at a time as there are processes.

        Raises:
            WorkerDied: the process of a job is gone.
        """
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        if len(numbers) == 1:
            return [self._run(job_overrides[0], initial_job_idx)]
        with ThreadPoolExecutor(self.n_jobs) as pool:
            return list(pool.map(self._run, job_overrides, numbers))

    def stop(self) -> None:
        """End all processes, whatever they are doing."""
        for slot in self._all:
            slot.stop()

    def _run(self, overrides: Sequence[str], number: int) -> JobReturn:
        config = self._context.config_loader.load_sweep_config(self._config, list(overrides))
        with open_dict(config):
            config.hydra.job.num = config.hydra.job.id = number
        slot = self._slots.get()
        try:
            return slot.call(_run_job, self._context, self._function, config, self.n_jobs > 1)
        finally:
            self._slots.put(slot)


class _Slot:
    """A place for one job at a time, with a process that is started when one is needed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._worker: Any = None

    def call(self, *call: Any) -> Any:
        from dlcexp.sweeps.workers import Worker, WorkerDied

        if self._worker is None:
            self._worker = Worker(self._environment)
        try:
            return self._worker.call(*call)
        except WorkerDied:
            self._worker = None
            raise

    def stop(self) -> None:
        worker = self._worker
        if worker is not None:
            worker.stop()


def _run_job(
    context: HydraContext, function: TaskFunction, config: DictConfig, several: bool
) -> JobReturn:
    """Run one job, in the process of a worker; several at a time are silent."""
    from hydra.core.utils import run_job, setup_globals

    from dlcexp.sweeps.job import logging_shown

    setup_globals()
    with logging_shown(not several):
        return run_job(
            hydra_context=context,
            task_function=function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
