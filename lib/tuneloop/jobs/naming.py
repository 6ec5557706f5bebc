"""What an experiment's folder on a cluster over SSH is called: chosen once, and on record in the experiment.

A name made from the experiment's place here would be lost when the experiment is moved. What lies in the folder there
is not known here.
"""

import json
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tuneloop.documents.files import write_text
from tuneloop.documents.locks import exclusive
from tuneloop.experiment.layout import Layout

_RECORD = "there.json"  # `name` of the folder there, and `folder`, where the experiment was when it was last looked at
_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_PATIENCE_S = 5.0


def name_there(layout: Layout, cluster: str) -> str:
    """Return the name of the folder to read from; the first call chooses it.

    A copy that has sent nothing yet reads from the folder of its original, which made all that the copy holds.
    """
    found = _recorded(layout, cluster)
    if found and (found["folder"] == str(layout.folder) or _is_copy(layout, cluster, found)):
        return found["name"]
    return own_name(layout, cluster)


def own_name(layout: Layout, cluster: str) -> str:
    """Return the name of a folder that no other experiment writes into: the one on record, or else a new one.

    A moved experiment keeps its name. A copy gets one of its own and begins anew there. It is known as a copy while
    an experiment with the same record lies at the place that its record tells, which costs one look at this disk:
    so copies on other machines, and those whose original was moved or removed since, count as moved.
    """
    busy = "another command chooses the name of the experiment's folder on the cluster"
    with exclusive(layout.fetched(cluster) / "there.lock", wait=_PATIENCE_S, busy=busy):
        found = _recorded(layout, cluster)
        name = found["name"] if found and not _is_copy(layout, cluster, found) else _new(layout)
        # As ASCII: a path may hold bytes that are no UTF-8.
        write_text(layout.fetched(cluster) / _RECORD, json.dumps({"name": name, "folder": str(layout.folder)}) + "\n")
    return name


def _new(layout: Layout) -> str:
    """Return a name that tells a person whose folder it is, in letters that every shell and scheduler takes."""
    return f"{_ODD.sub('_', layout.name).lstrip('.-') or 'experiment'}-{secrets.token_hex(4)}"


def _recorded(layout: Layout, cluster: str) -> Mapping[str, str] | None:
    with suppress(OSError, ValueError):
        value = json.loads((layout.fetched(cluster) / _RECORD).read_bytes())
        if isinstance(value, dict) and isinstance(value.get("name"), str) and isinstance(value.get("folder"), str):
            return value
    return None


def _is_copy(layout: Layout, cluster: str, found: Mapping[str, str]) -> bool:
    """Tell whether another experiment lies where this one is said to lie, with the same name there."""
    other = Layout(Path(found["folder"]))
    theirs = _recorded(other, cluster)
    return theirs is not None and theirs["name"] == found["name"] and not other.folder.samefile(layout.folder)
