"""Scorers that inspect-ai lacks, for the tasks that `create-inspect-task` writes.

Imported by task files alone: it imports inspect-ai, which takes a second.
"""

from collections.abc import Mapping
from math import exp, log
from typing import Any

from inspect_ai.model import GenerateConfig, TopLogprob, get_model
from inspect_ai.scorer import (
    CORRECT,
    INCORRECT,
    Metric,
    SampleScore,
    Score,
    Scorer,
    Target,
    accuracy,
    mean,
    metric,
    model_graded_qa,
    scorer,
    stderr,
)
from inspect_ai.solver import TaskState

from tuneloop.workers.inspect.calibration import BINS, brier, calibration_error, shares
from tuneloop.workers.inspect.numerals import last_numeral, number_of, within
from tuneloop.workers.inspect.samples import LETTERS

# How tokenizers write the space before a word into the word's token.
_SPACES = " \u0120\u2581"


@scorer(metrics=[accuracy(), stderr()])  # type: ignore[untyped-decorator]
def verbatim(ignore_case: bool = False) -> Scorer:
    """Tell whether the answer is the target, letter for letter, white space around it left aside.

    inspect-ai's `exact()` folds case, and its `match(location="exact")` leaves punctuation at both ends aside, so
    that `?` equals `!`.
    """

    async def score(state: TaskState, target: Target) -> Score:
        answer = state.output.completion.strip()
        wanted = [text.strip() for text in target]
        same = answer.casefold() in [text.casefold() for text in wanted] if ignore_case else answer in wanted
        return Score(value=CORRECT if same else INCORRECT, answer=answer)

    return score


@scorer(metrics=[accuracy(), stderr()])  # type: ignore[untyped-decorator]
def numeric(absolute: float = 0.0, relative: float = 0.0) -> Scorer:
    """Tell whether the last number of the answer is within a tolerance of the target.

    The larger of the two holds: `absolute` in the target's unit, `relative` as a share of the target's size. An
    answer without a number is wrong. Raises ValueError for a tolerance below zero or infinite.
    """
    if not (0 <= absolute < float("inf") and 0 <= relative < float("inf")):
        raise ValueError(f"a tolerance is a number from 0, found {absolute} and {relative}")

    async def score(state: TaskState, target: Target) -> Score:
        said = last_numeral(state.output.completion)
        wanted = number_of(target.text)
        if wanted is None:
            raise ValueError(f"the target is not a number: {target.text!r}")
        answer = None if said is None else number_of(said)
        if answer is None:
            return Score(value=INCORRECT, explanation="no number in the answer")
        return Score(value=CORRECT if within(answer, wanted, absolute, relative) else INCORRECT, answer=said)

    return score


@metric  # type: ignore[untyped-decorator]
def expected_calibration_error(bins: int = BINS) -> Metric:
    """The mean gap between confidence and accuracy, from 0 to 1; see `calibration.calibration_error`."""

    def compute(scores: list[SampleScore]) -> float:
        confidences = [_noted(item, "confidence") for item in scores]
        return calibration_error(confidences, [item.score.as_float() > 0 for item in scores], bins)

    return compute


@metric  # type: ignore[untyped-decorator]
def mass_on_choices() -> Metric:
    """The mean probability that the model gave to the letters together, before they were made to add up to 1.

    Where it is small the model hardly answers with a letter, and the other numbers say little.
    """

    def compute(scores: list[SampleScore]) -> float:
        return sum(_noted(item, "mass") for item in scores) / len(scores)

    return compute


@scorer(metrics=[accuracy(), stderr(), expected_calibration_error(), mass_on_choices()])  # type: ignore[untyped-decorator]
def most_likely() -> Scorer:
    """Tell whether the letter with the highest log-probability as the first token of the answer is the right one.

    The probabilities of the letters are made to add up to 1. A letter that is not among the tokens that the model
    returned gets 0: it is less likely than all of those. Where no letter is among them there is no answer, which is
    wrong, and each choice gets the same probability. Needs `logprobs` and `top_logprobs` in the generation settings.
    Raises ValueError where the model returns no log-probabilities.
    """

    async def score(state: TaskState, target: Target) -> Score:
        found = letter_logprobs(state)
        names = list(LETTERS[: len(state.choices)])
        probabilities = shares(found, names)
        answer = max(found, key=lambda name: found[name]) if found else ""
        return Score(
            value=CORRECT if answer == target.text else INCORRECT,
            answer=answer,
            metadata={
                "probabilities": probabilities,
                "confidence": max(probabilities.values()),
                "mass": min(1.0, sum(exp(value) for value in found.values())),
            },
        )

    return score


@scorer(metrics=[mean(), stderr()])  # type: ignore[untyped-decorator]
def brier_score() -> Scorer:
    """Score the probabilities of the letters from 0 (certain and right) to 2 (certain and wrong): less is better.

    See `calibration.brier`; probabilities are those of `most_likely`.
    """

    async def score(state: TaskState, target: Target) -> Score:
        probabilities = shares(letter_logprobs(state), list(LETTERS[: len(state.choices)]))
        return Score(value=brier(probabilities, target.text))

    return score


def letter_logprobs(state: TaskState) -> dict[str, float]:
    """Return the natural logarithm of the probability of each letter as the first token, where it was returned.

    Tokens that differ by a space before the letter count together. Raises ValueError without log-probabilities.
    """
    given = state.output.choices[0].logprobs if state.output.choices else None
    if given is None or not given.content or not given.content[0].top_logprobs:
        raise ValueError(
            "the model returned no log-probabilities: set `logprobs` and `top_logprobs`, or change provider"
        )
    names = LETTERS[: len(state.choices)]
    sums: dict[str, float] = {}
    token: TopLogprob
    for token in given.content[0].top_logprobs:
        letter = token.token.strip(_SPACES)
        if len(letter) == 1 and letter in names:
            sums[letter] = sums.get(letter, 0.0) + exp(token.logprob)
    return {name: log(value) for name, value in sums.items() if value > 0}


@scorer(metrics=[accuracy(), stderr()])  # type: ignore[untyped-decorator]
def graded(judge: str, settings: Mapping[str, Any], arguments: Mapping[str, Any] | None = None) -> Scorer:
    """Let a judge tell whether the answer meets the target, with inspect-ai's `model_graded_qa`.

    The judge is named, as PROVIDER/MODEL with its generation settings and model arguments, and all of it stands in
    the log as this scorer's options; the model that is evaluated never judges by default. The judge is loaded with
    the first answer, not when the task is built. An answer that it gives no grade stays unscored, and the evaluation
    does not count. Raises ValueError without a judge.
    """
    if not isinstance(judge, str) or "/" not in judge.strip("/"):
        raise ValueError(f"name the judge as PROVIDER/MODEL, found {judge!r}")

    async def score(state: TaskState, target: Target) -> Score:
        model = get_model(judge, config=GenerateConfig(**settings), **(arguments or {}))
        return await model_graded_qa(model=model)(state, target)

    return score


def _noted(item: SampleScore, name: str) -> float:
    return float((item.score.metadata or {})[name])
