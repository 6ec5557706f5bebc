"""What a cluster profile adds to the scripts of its jobs."""

from tuneloop.documents.config import Profile
from tuneloop.documents.shell import quote, quote_at_home
from tuneloop.experiment.work import Site


def site_of(profile: Profile) -> Site:
    """Return the options of sbatch and the shell lines of a profile. Raises InputError for control characters."""
    options = {
        "account": profile.account,
        "partition": profile.partition,
        "qos": profile.qos,
        "reservation": profile.reservation,
        "constraint": profile.constraint,
    }
    setup = [
        *(f"source -- {quote_at_home(file)}" for file in profile.source),
        *(f"module load {quote(name)}" for name in profile.modules),
        *(f"export {name}={quote_at_home(value)}" for name, value in profile.environment.items()),
    ]
    return Site(
        options={name: value for name, value in options.items() if value is not None},
        gpu_type=profile.gpu_type,
        setup=tuple(setup),
        memory_mb=profile.memory_mb,
        minutes=profile.limits.minutes,
    )
