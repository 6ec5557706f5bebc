"""`python -m tuneloop.workers.torchtune VERB`: the worker's verbs, and the steps of a training script."""

import sys

from tuneloop.workers.bridge import serve
from tuneloop.workers.torchtune import worker


def _prepare(_: object) -> int:
    from tuneloop.workers.torchtune.prepare import prepare

    return prepare()


def _verify(_: object) -> int:
    from tuneloop.workers.torchtune.verify import verify

    return verify()


if __name__ == "__main__":
    sys.exit(serve(worker, steps={"prepare": _prepare, "verify": _verify}))
