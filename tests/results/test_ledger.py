import re
from pathlib import Path

import pytest
from process_support import holder

from dlcexp.errors import UserError
from dlcexp.results.ledger import Job, Ledger, Objective, SweepRecord, check_same, unfinished
from dlcexp.runs.status import Status, write_status

RECORD = SweepRecord(
    id="0123abcd",
    command="dlcexp -m a=1,2",
    overrides=("a=1,2",),
    swept=("a",),
    created="2026-11-24T10:00:00+00:00",
    objectives=(Objective("test.mAP", "maximize"),),
    sweeper="grid",
    launcher="basic",
    environment={"python": "3.11"},
)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    folder = tmp_path / "options"
    (folder / "optimizer").mkdir(parents=True)
    (folder / "optimizer" / "mine.yaml").write_text("lr: 1\n")
    return folder


def test_what_was_asked_for_is_read_back(tmp_path, conf):
    ledger = Ledger(tmp_path / "sweep")
    assert ledger.record() is None
    ledger.begin(RECORD, conf, None)
    assert ledger.record() == RECORD


def test_folders_are_copied_once(tmp_path, conf):
    ledger = Ledger(tmp_path / "sweep")
    ledger.begin(RECORD, conf, conf)
    (conf / "optimizer" / "mine.yaml").write_text("lr: 2\n")
    ledger.begin(RECORD, conf, conf)
    for folder in ledger.config_folders:
        assert folder is not None
        assert (folder / "optimizer" / "mine.yaml").read_text() == "lr: 1\n"


def test_runs_below_the_folder_of_options_are_no_options(tmp_path, conf):
    run = conf / "runs" / "mouse"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("a: 1\n")
    ledger = Ledger(tmp_path / "sweep")
    ledger.begin(RECORD, conf, None)
    assert not (ledger.conf / "dlcexp" / "runs").exists()


def test_the_last_line_on_a_job_counts_and_a_torn_one_does_not(tmp_path):
    ledger = Ledger(tmp_path)
    first, second = Job(0, "0", ("a=1",), "aa"), Job(1, "1", ("a=2",), "bb")
    ledger.add(first)
    with ledger.jobs_file.open("a") as file:
        file.write('{"number": 1, "folder": "1", "overr')
    ledger.add(second)
    again = Job(0, "0", ("a=1",), "aa", trial=7)
    ledger.add(again)
    assert ledger.jobs() == [again, second]
    assert ledger.job_in("1") == second


def test_one_process_at_a_time(tmp_path):
    with (
        holder(tmp_path / "lock"),
        pytest.raises(UserError, match=re.escape(str(tmp_path))),
        Ledger(tmp_path).held(),
    ):
        pass
    with Ledger(tmp_path).held():
        pass


def test_the_folder_of_another_sweep_is_refused(tmp_path):
    check_same(RECORD, RECORD.id, tmp_path)
    with pytest.raises(UserError, match=r"dlcexp -m a=1,2"):
        check_same(RECORD, "ffffffff", tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("jobs.jsonl", '{"a": 1}\n'),
        ("jobs.jsonl", "[1]\n"),
        ("sweep.yaml", "a: 1\n"),
        ("sweep.yaml", "a: [1\n"),
        ("sweep.yaml", ""),
    ],
)
def test_files_of_something_else_are_refused(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    ledger = Ledger(tmp_path)
    with pytest.raises(UserError, match=name):
        ledger.record(), ledger.jobs()


@pytest.mark.parametrize("content", ["", "{", '["status"]', '{"status": "completed"'])
def test_a_job_whose_status_is_damaged_has_failed(tmp_path, content):
    job = Job(0, "0", ("seed=1",), "")
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "status.json").write_text(content)
    assert Ledger(tmp_path).status(job).status == "failed"


def test_the_newest_folder_of_a_sweep_is_found(tmp_path, conf):
    for name in ("2026-01-02_00-00-00-0123abcd", "2026-01-01_00-00-00-0123abcd"):
        Ledger(tmp_path / name).begin(RECORD, conf, None)
    (tmp_path / "2026-01-03_00-00-00-0123abcd").mkdir()
    (tmp_path / "2026-01-04_00-00-00-ffffffff").mkdir()
    found = unfinished(tmp_path, "0123abcd")
    assert found is not None
    assert found.name == "2026-01-02_00-00-00-0123abcd"
    assert unfinished(tmp_path / "nowhere", "0123abcd") is None


def test_a_job_that_is_gone_is_marked(tmp_path):
    ledger, job = Ledger(tmp_path), Job(0, "0", (), "aa")
    assert ledger.status(job).status == "queued"
    write_status(ledger.path(job), Status("running", seconds=3.5))
    ledger.mark(job, "killed", "killed", "gone")
    assert ledger.status(job) == Status("killed", "gone", "killed", 3.5)
