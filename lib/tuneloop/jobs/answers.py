"""What a scheduler says of a job, in the words of the states. A job without an answer is no news, never a failure."""

from typing import NamedTuple

from tuneloop.experiment.work import State


class Answer(NamedTuple):
    state: State
    reason: str
    final: bool  # the scheduler will not change its mind by itself


class News(NamedTuple):
    """How good the last answers of a scheduler are. Times are seconds since 1970."""

    taken: float | None = None  # when it last answered
    due: float = 0  # when it is worth asking again
    silent: str = ""  # what came instead of an answer when it was last asked
    unfetched: str = ""  # why what its jobs made could not be brought here, where something refused it
