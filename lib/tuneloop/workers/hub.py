"""What a design's `model` names: a folder, or a model of the Hugging Face hub that this machine has in its cache.

Nothing is ever downloaded: a design names what is there. Runs record the folder and are known by its content, so a
cache that moves on to a newer revision makes them stale and changes nothing in silence.
"""

import os
import re
from importlib.util import find_spec
from pathlib import Path

from tuneloop.documents.files import user_path

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def model_folder(text: str, start: Path) -> Path:
    """Return the folder that `text` names, seen from `start`; it need not exist.

    A folder comes before a hub id of the same name. A link stays a link.
    """
    folder = Path(os.path.abspath(start / user_path(text)))  # noqa: PTH100
    if folder.exists() or not is_hub_id(text):
        return folder
    return _cached(text) or folder


def is_hub_id(text: str) -> bool:
    """Tell whether `text` has the form `organisation/name`; a path may have it, too."""
    return _HUB_ID.match(text) is not None


def _cached(hub_id: str) -> Path | None:
    """Return the snapshot of the id's main branch in the local cache (HF_HUB_CACHE, HF_HOME), or None."""
    if find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for name in ("config.json", "adapter_config.json"):
        try:
            found = try_to_load_from_cache(hub_id, name)
        except HFValidationError:
            return None
        if isinstance(found, str):
            return Path(found).parent
    return None
