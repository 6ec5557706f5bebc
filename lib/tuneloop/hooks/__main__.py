"""`python -I -S lib/tuneloop/hooks/__main__.py NAME <event`: one hook, started by `hooks/launch`.

Isolated, so that nothing of a project's folder or environment is imported; this library's own folder is found from
this file. Any fault ends in an exit code that is not 0, and the launcher decides what that means. A Python 3
older than the hooks can read this file, and says with a code of its own that it is too old.
"""

import importlib
import json
import sys
from pathlib import Path

_OLDEST = (3, 9)
_TOO_OLD = 90  # the launcher tries the next one


def main(name: str) -> int:
    """Answer the event on stdin. A module of this folder is a hook when it has a function `answer`."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    hook = importlib.import_module(f"tuneloop.hooks.{name}")
    event = json.loads(sys.stdin.buffer.read())
    if not isinstance(event, dict):
        sys.stderr.write("the event is not a JSON object\n")
        return 1
    said = hook.answer(event)
    if said is not None:
        sys.stdout.write(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if sys.version_info >= _OLDEST else _TOO_OLD)
