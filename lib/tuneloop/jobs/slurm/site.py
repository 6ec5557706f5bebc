"""What a cluster profile adds to the scripts of its jobs."""

import re

from tuneloop.documents.config import Profile
from tuneloop.documents.errors import InputError
from tuneloop.documents.shell import quote
from tuneloop.experiment.work import Site

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def site_of(profile: Profile) -> Site:
    """Return the options of sbatch and the shell lines of a profile.

    Raises InputError for control characters, and for a variable whose name a shell would take for something else.
    """
    for name in profile.environment:
        if not _VARIABLE.match(name):
            hint = "use letters, digits and `_` under `environment` in the cluster's profile"
            raise InputError(f"{name!r} is not the name of a variable", hint=hint)
    options = {
        "account": profile.account,
        "partition": profile.partition,
        "qos": profile.qos,
        "reservation": profile.reservation,
        "constraint": profile.constraint,
    }
    setup = [
        *(f"source -- {quote(file)}" for file in profile.source),
        *(f"module load {quote(name)}" for name in profile.modules),
        *(f"export {name}={quote(value)}" for name, value in profile.environment.items()),
    ]
    return Site(
        options={name: value for name, value in options.items() if value is not None},
        gpu_type=profile.gpu_type,
        setup=tuple(setup),
        memory_mb=profile.memory_mb,
    )
