"""sample: one prompt to one model of an experiment, sent as its training and its evaluations send theirs."""

from dataclasses import dataclass

from tuneloop.experiment.design import sources
from tuneloop.experiment.read import Experiment
from tuneloop.loop.checkpoints import Model
from tuneloop.loop.orders import Crew
from tuneloop.workers.models import Sampled, SampleRequest


@dataclass(frozen=True)
class Asking:
    """How to ask: tokens at most, None for greedy, the seed where it draws."""

    max_tokens: int
    temperature: float | None = None
    seed: int = 0


def messages(experiment: Experiment, text: str, *, system: str | None, raw: bool) -> list[dict[str, str]]:
    """Return the turns to send: the design's prompt around the text, under its system turn, unless `raw`."""
    source = sources(experiment.design)["train"]
    if not raw and source.prompt is not None and source.format != "chat":
        text = source.prompt.replace("{input}", text)
    said = system if system is not None or raw else source.system
    return [*([{"role": "system", "content": said}] if said else []), {"role": "user", "content": text}]


def sample(model: Model, turns: list[dict[str, str]], asking: Asking) -> Sampled:
    """Return the model's answer, from the work environment of the worker that trains."""
    crew = Crew(model.experiment)
    request = SampleRequest(model.weights(crew), turns, asking.max_tokens, asking.temperature, asking.seed)
    return crew.remote(crew.trainer).sample(request)
