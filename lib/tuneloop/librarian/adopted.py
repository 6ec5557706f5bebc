"""What was linked where the record of it is gone: all that is exactly as `link` would make it counts as made by it.

What differs in anything stays somebody else's, and so do links alone, which a person may have made by hand. An empty
folder says nothing, so those that hold ours count as made.
"""

from collections.abc import Sequence

from tuneloop.librarian.manifest import Manifest, Merge, empty
from tuneloop.librarian.pack import Pack
from tuneloop.librarian.settings import Addition, merge_found
from tuneloop.librarian.target import KINDS, Target
from tuneloop.librarian.wanted import entry, everything, observe


def adopted(pack: Pack, target: Target, additions: Sequence[Addition] | None) -> Manifest | None:
    """Return the record of what stands in the target as `link` makes it, None where nothing does."""
    entries = {}
    for item in everything(pack, target.commands):
        stands = observe(target.base / item.place)
        # Copies stand where links could not be made, whatever is asked for now.
        if stands is not None and stands in [entry(item, target, pack, copy=copy) for copy in (False, True)]:
            entries[item.place] = [stands]
    merge = merge_found(target.settings, additions) if additions else None
    if merge is None and all(found.kind == "link" for [found] in entries.values()):
        return None
    kinds = [kind for kind in KINDS if any(place.startswith(f"{kind}/") for place in entries)]
    merges: list[Merge] = [] if merge is None else [merge]
    return empty().model_copy(update={"folders": ["", *kinds], "entries": entries, "settings": merges})
