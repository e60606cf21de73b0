"""Models from the Hugging Face hub: the copy on this computer first, the network only for what a person named.

What a repository says about itself is checked before its weights are fetched, and only the files that will be read are
fetched: configurations, tokenizers and one set of safetensors. Nothing here runs unless a hub model is being loaded.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from studio.errors import ModelNotFound, StudioError, UnsafeModel
from studio.models import safety
from studio.models.weights import PICKLE_SUFFIXES, shown

TIMEOUT = 10.0  # seconds for an answer of the hub; downloads have their own, per piece
_SMALL = re.compile(r"\.(json|txt|model|jinja)$")
_WEIGHTS = re.compile(
    r"(?P<stem>[A-Za-z0-9_]+)(?P<shard>-\d{5}-of-\d{5})?(\.(?P<variant>[A-Za-z][A-Za-z0-9_]*))?\.safetensors"
)


def fetch(repository: str, endpoint: str | None = None) -> Path:
    """The folder of a hub model on this computer, fetched if it is not whole there.

    `endpoint` is the hub's address; None means the usual one. Raises StudioError: ModelNotFound if it is not on this
    computer and cannot be fetched, UnsafeModel if it should not be.
    """
    held = cached(repository)
    if held is not None:
        try:
            safety.check_folder(held)
            return held
        except ModelNotFound:
            pass  # begun, but not whole
    return _download(repository, endpoint)


def cached(repository: str) -> Path | None:
    """The newest copy of a hub model in the local cache, whole or not, without asking the network."""
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(repository, safety.INDEX)
    return Path(index).parent if isinstance(index, str) else None


def _download(repository: str, endpoint: str | None) -> Path:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        info = HfApi(endpoint=endpoint).model_info(repository, timeout=TIMEOUT)
        listed = [item.rfilename for item in info.siblings or ()]
        place: dict[str, Any] = {"endpoint": endpoint, "etag_timeout": TIMEOUT}
        if safety.INDEX not in listed:
            raise ModelNotFound(f"`{repository}` on the hub is no diffusers model: it has no {safety.INDEX}.")
        with tempfile.TemporaryDirectory() as folder:
            hf_hub_download(repository, safety.INDEX, revision=info.sha, local_dir=folder, **place)
            index = safety.read_index(Path(folder))
            parts = [part.name for part in safety.components_of(Path(folder), index)]
        wanted = files_to_fetch(repository, listed, parts)
        # by name and not by commit, so that the cache knows this copy as the newest
        return Path(snapshot_download(repository, allow_patterns=wanted, max_workers=4, **place))
    except StudioError:
        raise
    except GatedRepoError as problem:
        raise ModelNotFound(
            f"`{repository}` asks you to accept its licence first. Do so on its page on the hub, then log in "
            "here with `hf auth login`."
        ) from problem
    except RepositoryNotFoundError as problem:
        raise ModelNotFound(f"The hub has no model `{repository}`, or keeps it private. Check the name.") from problem
    except (EntryNotFoundError, LocalEntryNotFoundError, OfflineModeIsEnabled) as problem:
        raise _unreachable(repository) from problem
    except HfHubHTTPError as problem:
        status = getattr(problem.response, "status_code", "no status")
        raise ModelNotFound(
            f"The hub refused to hand out `{repository}` (it answered {status}). Try again later, or use Painter."
        ) from problem
    except OSError as problem:
        if problem.errno == 28:  # no space left
            raise StudioError(
                f"The disk is full: `{repository}` does not fit. Make room, or use Painter."
            ) from problem
        raise _unreachable(repository) from problem
    except Exception as problem:
        # the hub's client changes its network library, and with it what a lost connection is called
        if type(problem).__module__.startswith(("httpx", "httpcore", "requests", "urllib3")):
            raise _unreachable(repository) from problem
        raise


def files_to_fetch(repository: str, listed: list[str], parts: list[str]) -> list[str]:
    """The paths to fetch of all that a repository lists: for each part its small files and one set of safetensors.

    Plain weights are preferred, then fp16. Raises UnsafeModel if a part has weights, but only pickled ones.
    """
    wanted = [safety.INDEX]
    for part in parts:
        names = [path.partition("/")[2] for path in listed if path.startswith(f"{part}/") and path.count("/") == 1]
        wanted += [f"{part}/{name}" for name in names if _SMALL.search(name)]
        sets: dict[str, list[str]] = {}
        for name in names:
            if match := _WEIGHTS.fullmatch(name):
                sets.setdefault(match["variant"] or "", []).append(f"{part}/{name}")
        if sets:
            wanted += next((sets[tag] for tag in ("", "fp16", "bf16") if tag in sets), sets[min(sets)])
        elif pickles := [name for name in names if Path(name).suffix in PICKLE_SUFFIXES]:
            raise UnsafeModel(
                f"`{repository}` keeps its weights in `{shown(f'{part}/{pickles[0]}')}`, a pickle, which can "
                "run code when it is opened. Nothing was fetched. Choose a copy of this model in "
                ".safetensors files."
            )
    return wanted


def _unreachable(repository: str) -> ModelNotFound:
    return ModelNotFound(
        f"`{repository}` is not on this computer and there is no connection. Start again with `--model "
        "FOLDER`, or use Painter."
    )
