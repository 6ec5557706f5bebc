"""What a scheduler says of a job, in the words of the states. A job without an answer is no news, never a failure."""

from typing import NamedTuple

from tuneloop.experiment.work import State


class Answer(NamedTuple):
    state: State
    reason: str
    final: bool  # the scheduler will not change its mind by itself
