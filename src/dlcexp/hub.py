"""Files of weights on the hub of Hugging Face: from its cache on this machine, or fetched.

An address is `hf://OWNER/REPOSITORY/FILE`, or without a file for the weights of a timm model.
The usual variables hold: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE.
"""

import logging
import re
import urllib.request
from contextlib import suppress
from functools import cache
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError

from dlcexp.errors import UserError
from dlcexp.files import digest
from dlcexp.text import first_line

logger = logging.getLogger(__name__)

ADDRESS = "hf://"
# Backbones that DeepLabCut starts from in place of ImageNet's.
DLC_BACKBONES = f"{ADDRESS}DeepLabCut/DeepLabCut-Backbones"
# Time that the hub, or another server of weights, has for its first answer.
TIMEOUT_SECONDS = 5
# In the order in which timm looks for them.
_TIMM_FILES = ("model.safetensors", "pytorch_model.bin")


class HubError(UserError):
    """A file of the hub is neither on this machine nor available; the message has the reason."""


def hub_file(address: str) -> Path:
    """Return the file at an address, whole.

    Raises:
        HubError: it is not in the cache, and cannot be fetched.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, names = _parts(address)
    for name in names:
        cached = try_to_load_from_cache(repository, name)
        if isinstance(cached, str) and _is_whole(Path(cached)):
            return Path(cached)
    if constants.HF_HUB_OFFLINE:
        raise HubError(f"{address} is not in {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set")
    if problem := no_answer(constants.ENDPOINT):
        raise HubError(f"{address} is not in {constants.HF_HUB_CACHE}, and {problem}")
    for name in names:
        try:
            path = Path(hf_hub_download(repository, name, etag_timeout=TIMEOUT_SECONDS))
        except LocalEntryNotFoundError as error:
            raise HubError(f"{address}: {first_line(error.__cause__ or error)}") from error
        except EntryNotFoundError:
            continue
        except Exception as error:  # whatever a server and a network can do
            raise HubError(f"{address}: {first_line(error)}") from error
        if _is_whole(path):
            return path
        raise HubError(f"{address} arrived damaged: its content is not that of its hash")
    raise HubError(f"{address}: there is no {' and no '.join(names)}")


def _parts(address: str) -> tuple[str, tuple[str, ...]]:
    """Return the repository of an address, and the names of the file that is looked for."""
    owner, _, rest = address.removeprefix(ADDRESS).partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository):
        raise HubError(f"{address} is not an address. Allowed: hf://OWNER/REPOSITORY[/FILE].")
    return f"{owner}/{repository}", (file,) if file else _TIMM_FILES


def _is_whole(path: Path) -> bool:
    """Return False, and remove the file, if its content is not that of its hash.

    The cache names large files after their SHA-256; others are not checked.
    """
    blob = path.resolve()
    if not re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return True
    if digest(blob) == blob.name:
        return True
    logger.warning("removed %s: its content is not that of its hash", path)
    for each in (path, blob):
        with suppress(OSError):
            each.unlink()
    return False


@cache
def no_answer(server: str) -> str:
    """Return why a server cannot be reached; empty if it can. Asked once in a process."""
    answers: list[str] = []

    def ask() -> None:
        request = urllib.request.Request(server, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
                answers.append("")
        except HTTPError:  # an answer all the same
            answers.append("")
        except (OSError, HTTPException, ValueError) as error:
            answers.append(f"{server} cannot be reached: {first_line(error)}")

    thread = Thread(target=ask, daemon=True)  # looking up a name knows no timeout
    thread.start()
    thread.join(TIMEOUT_SECONDS)
    return [*answers, f"{server} gives no answer within {TIMEOUT_SECONDS} s"][0]
