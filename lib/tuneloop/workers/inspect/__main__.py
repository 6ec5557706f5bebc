"""`python -m tuneloop.workers.inspect VERB`: the verbs of the bridge, and the steps of a job's script."""

import sys

from tuneloop.workers.bridge import serve
from tuneloop.workers.inspect import worker
from tuneloop.workers.inspect.evaluate import evaluate
from tuneloop.workers.inspect.prepare import prepare
from tuneloop.workers.inspect.trial import try_task
from tuneloop.workers.inspect.verify import verify

if __name__ == "__main__":
    sys.exit(serve(worker, {"prepare": prepare, "eval": evaluate, "verify": verify, "try-task": try_task}))
