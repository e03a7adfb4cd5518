"""An exported parquet set on the Hugging Face hub (extra `hf`)."""

import os
import re
from pathlib import Path
from typing import Any

from datadam.errors import InvalidInput, RunFailed

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def check(name: str) -> None:
    """Raise `InvalidInput` when nothing could be pushed: a wrong name, no extra, told to stay offline, nobody logged in."""
    if not NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name on the hub; it is USER/NAME, in letters, digits, dots and hyphens")
    hub = _hub()
    if hub.constants.HF_HUB_OFFLINE:
        offline = "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "TRANSFORMERS_OFFLINE"
        raise InvalidInput(
            f"the hub cannot be reached: {offline} is set. Unset it, or leave out --push and upload the folder later"
        )
    if not hub.get_token():
        raise InvalidInput("nobody is logged in to the hub; run: hf auth login (or set HF_TOKEN), or leave out --push")


def push(folder: Path, name: str) -> str:
    """Upload a folder as the data set USER/NAME; its address. Raises `RunFailed`; the folder stays as it is."""
    hub = _hub()
    api = hub.HfApi()
    try:
        api.create_repo(name, repo_type="dataset", exist_ok=True)
        api.upload_folder(repo_id=name, repo_type="dataset", folder_path=folder, commit_message="Exported by datadam")
    except Exception as error:  # of the hub, the network, the login
        words = str(error).strip().splitlines()
        raise RunFailed(
            f"{folder} is written, and was not pushed to {name}: {words[0][:300] if words else type(error).__name__}. Later: hf "
            f"upload {name} {folder} . --repo-type dataset"
        ) from error
    return f"{hub.constants.ENDPOINT}/datasets/{name}"


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
    except ImportError as error:
        raise InvalidInput("--push needs the package huggingface_hub: pip install 'datadam[hf]'; or leave it out") from error
    return huggingface_hub
