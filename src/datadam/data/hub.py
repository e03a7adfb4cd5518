"""The hub of Hugging Face, asked for a data set: at once from its cache where it cannot be reached."""

import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from datadam.errors import DownloadError

PATIENCE = 5.0  # seconds for a connection; its own client tries for half a minute, and says so line by line


def fetched(name: str, datasets: Any) -> Any:
    """The splits of the data set "owner/name". Raises DownloadError, in one line."""
    away = _away()
    try:
        with _from_cache(datasets, away):
            return datasets.load_dataset(name)
    except Exception as error:  # of many packages: the hub's, the network's, the file formats'
        if away:
            kind = type(error).__name__
            raise DownloadError(
                f"hf:{name} cannot be loaded: {away} cannot be reached, and its cache here gives no copy ({kind}). "
                "Check the connection."
            ) from error
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DownloadError(
            f"hf:{name} cannot be loaded: {lines[0]}. Check the name and the connection; where terms must be accepted, "
            "do so on the hub and log in with: hf auth login."
        ) from error


def _away() -> str:
    """The address of the hub if no connection comes about, else "" (also where that cannot be told: behind a proxy, offline by
    the user's own wish)."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return ""
    address = urllib.parse.urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE or not address.hostname or urllib.request.getproxies():
        return ""
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname, port), timeout=PATIENCE).close()
    except OSError:
        return str(constants.ENDPOINT)
    return ""


@contextmanager
def _from_cache(datasets: Any, away: str) -> Iterator[None]:
    """Have the hub's client and `datasets` use their cache alone, if the hub is away, as HF_HUB_OFFLINE=1 would have from the
    start."""
    if not away:
        yield
        return
    from huggingface_hub import constants

    places = [constants, *([datasets.config] if hasattr(datasets, "config") else [])]
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value
