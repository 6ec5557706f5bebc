"""Answers of real weights: greedy is what transformers generates, a temperature draws by its seed."""

import json
import sys
from pathlib import Path

import pytest

from torchtune_case import TINY, random_adapter
from tuneloop.documents.errors import FailedError
from tuneloop.workers.bridge import Remote
from tuneloop.workers.models import SampleRequest, Weights
from tuneloop.workers.torchtune import worker
from tuneloop.workers.torchtune.merging import base_of, merge
from tuneloop.workers.torchtune.sampling import sample

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore::FutureWarning:transformers")]

TURNS = [{"role": "user", "content": "copy: one"}]
BASE = Weights(str(TINY), str(TINY))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_adapter(tmp_path_factory.mktemp("adapter") / "epoch_0")


def test_the_base_does_what_it_was_taught() -> None:
    told = Remote(worker, sys.executable).sample(SampleRequest(BASE, TURNS, 16))
    assert told.output == "one"
    assert told.ended
    assert told.prompt == "<|im_start|>user\ncopy: one<|im_end|>\n<|im_start|>assistant\n"


def test_an_answer_is_cut_off_where_it_was_said() -> None:
    told = sample(SampleRequest(BASE, TURNS, 2))
    assert (told.output, told.tokens, told.ended) == ("on", 2, False)


def test_an_adapter_answers_as_its_merged_model_does(adapter: Path, tmp_path: Path) -> None:
    merge(adapter, TINY, tmp_path / "merged")
    merged = Weights(str(tmp_path / "merged"), str(TINY))
    answers = [sample(SampleRequest(weights, TURNS, 12)) for weights in (Weights(str(adapter), str(TINY)), merged)]
    assert answers[0] == answers[1]
    assert answers[0].output != "one"


def test_a_temperature_draws_by_its_seed(adapter: Path) -> None:
    weights = Weights(str(adapter), str(TINY))
    drawn = [sample(SampleRequest(weights, TURNS, 12, 2.0, seed)).output for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_template_of_the_training_is_used(tmp_path: Path) -> None:
    template = tmp_path / "chat_template.jinja"
    template.write_text("{% for item in messages %}{{ item.content }}|{% endfor %}")
    assert sample(SampleRequest(Weights(str(TINY), str(TINY), str(template)), TURNS, 1)).prompt == "copy: one|"


def test_weights_that_do_not_load_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "epoch_0").mkdir()
    (tmp_path / "epoch_0" / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(FailedError, match="epoch_0"):
        sample(SampleRequest(Weights(str(tmp_path / "epoch_0"), str(TINY)), TURNS, 1))


def test_an_adapter_knows_its_base_where_that_is_here(tmp_path: Path) -> None:
    """In an experiment it names the base from the run's folder; moved to where there is none, the design's counts."""
    checkpoint = tmp_path / "run" / "epoch_0"
    checkpoint.mkdir(parents=True)
    (checkpoint / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "../base"}))
    assert base_of(checkpoint, TINY) == TINY
    (tmp_path / "base").mkdir()
    assert base_of(checkpoint, TINY) == tmp_path / "base"
