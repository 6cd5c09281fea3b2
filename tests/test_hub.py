"""The real client of the hub against a hub on this machine, in processes as a user has them."""

import subprocess
import sys
from pathlib import Path

import pytest
from hub_support import Hub, running_hub

ADDRESS = "hf://timm/tiny.a1_in1k"
FILE = Path("timm", "tiny.a1_in1k", "model.safetensors")
CONTENT = bytes(range(256)) * 400

# Asks twice, as two backbones of one process do.
SCRIPT = """
import sys
from time import monotonic
from dlcexp.hub import HubError, hub_file
for address in sys.argv[1:]:
    begun = monotonic()
    try:
        print("file", hub_file(address), flush=True)
    except HubError as error:
        print("error", error, flush=True)
    print("seconds", monotonic() - begun, flush=True)
"""


@pytest.fixture
def hub(tmp_path):
    (tmp_path / "hub" / FILE).parent.mkdir(parents=True)
    (tmp_path / "hub" / FILE).write_bytes(CONTENT)
    with running_hub(tmp_path / "hub") as hub:
        yield hub


def ask(hub: Hub, cache: Path, *addresses: str, offline: bool = False) -> list[tuple[str, str]]:
    """Return what a process prints for some addresses, word and rest of each line."""
    command = [sys.executable, "-c", SCRIPT, *addresses]
    environment = hub.environment(cache, offline=offline)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    return [(kind, rest) for kind, _, rest in lines]


def test_a_file_is_fetched_once_and_read_offline_from_then_on(hub, tmp_path):
    (kind, path), _ = ask(hub, tmp_path / "cache", ADDRESS)
    assert kind == "file"
    assert Path(path).read_bytes() == CONTENT
    assert any(request.startswith("GET") for request in hub.requests)
    hub.requests.clear()
    assert ask(hub, tmp_path / "cache", ADDRESS, offline=True)[0] == ("file", path)
    assert ask(hub, tmp_path / "cache", ADDRESS)[0] == ("file", path)
    assert not hub.requests


def test_the_older_name_of_the_file_does_as_well(hub, tmp_path):
    older = hub.folder / FILE.with_name("pytorch_model.bin")
    (hub.folder / FILE).rename(older)
    (kind, path), _ = ask(hub, tmp_path / "cache", ADDRESS)
    assert (kind, Path(path).name) == ("file", older.name)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("hf://timm/tiny.a1_in1k/other.pt", "no other.pt"),
        ("hf://timm/nothing", "hf://timm/nothing"),
        ("hf://timm", "OWNER/REPOSITORY"),
    ],
)
def test_what_the_hub_does_not_have_is_named(hub, tmp_path, address, problem):
    (kind, message), _ = ask(hub, tmp_path / "cache", address)
    assert kind == "error"
    assert problem in message


@pytest.mark.parametrize("fault", ["missing", "garbage", "truncated", "dies"])
def test_a_file_that_does_not_arrive_whole_is_never_used(hub, tmp_path, fault):
    hub.fault = fault
    (kind, message), _ = ask(hub, tmp_path / "cache", ADDRESS)
    assert (kind, ADDRESS in message) == ("error", True)
    hub.fault = ""
    offline = ask(hub, tmp_path / "cache", ADDRESS, offline=True)
    assert offline[0][0] == "error"
    (kind, path), _ = ask(hub, tmp_path / "cache", ADDRESS)
    assert kind == "file"
    assert Path(path).read_bytes() == CONTENT


def test_a_slow_hub_is_asked_once_in_a_process(hub, tmp_path):
    hub.fault = "slow"
    first, first_time, second, second_time = ask(hub, tmp_path / "cache", ADDRESS, ADDRESS)
    assert first[0] == second[0] == "error"
    assert "no answer within 5 s" in first[1]
    assert float(second_time[1]) < float(first_time[1]) / 2


def test_a_damaged_file_of_the_cache_is_fetched_again(hub, tmp_path):
    (_, path), _ = ask(hub, tmp_path / "cache", ADDRESS)
    Path(path).resolve().write_bytes(CONTENT[:-1] + b"!")
    (kind, again), _ = ask(hub, tmp_path / "cache", ADDRESS)
    assert kind == "file"
    assert Path(again).read_bytes() == CONTENT


def test_no_network_is_a_reason(hub, tmp_path):
    environment = hub.environment(tmp_path / "cache") | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-c", SCRIPT, ADDRESS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "http://127.0.0.1:9 cannot be reached" in done.stdout
