"""Real evaluations of the tiny model, each by its script: the base as it is, an adapter, a task that breaks."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from inspect_support import BASE, HEAD, make_experiment, order_of, run_script, verdict, write

from tuneloop.workers.inspect import worker
from tuneloop.workers.inspect.request import read_request

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluate the base model once, under a hostile path and a hostile shell; return the experiment."""
    folder = tmp_path_factory.mktemp("it's $HOME; a") / "small"
    home = tmp_path_factory.mktemp("home")
    write(folder, worker.scaffold(order_of(make_experiment(folder))))
    hostile = {"INSPECT_EVAL_LIMIT": "3", "INSPECT_EVAL_TEMPERATURE": "0.9", "INSPECT_EVAL_MODEL": "mockllm/model"}
    done = run_script(folder / "control/eval/cap_base.slurm", HOME=str(home), XDG_CACHE_HOME=str(home), **hostile)
    [log] = (folder / "control/eval").glob("slurm-*.out")
    assert done.returncode == 0, log.read_text()
    assert list(home.iterdir()) == []
    return folder


def test_the_base_model_is_verified(evaluated: Path) -> None:
    found = verdict(evaluated / "control")
    assert (found["ok"], found["reason"]) == (True, "10 samples, all scored")
    # The request's limit wins over the task's own, which sets top_k.
    assert found["facts"]["generation"] == {"max_tokens": 8, "seed": 1, "top_k": 1, "do_sample": False}
    [attempt] = (evaluated / "control/.attempts/cap_base").iterdir()
    assert json.loads((attempt / "exit.json").read_text())["code"] == 0
    assert list(attempt.glob("*.eval")) == []


def test_the_log_tells_what_was_asked(evaluated: Path) -> None:
    from inspect_ai.log import read_eval_log

    log = read_eval_log(evaluated / "control/eval/logs/cap_base.eval", header_only=True)
    request = read_request(evaluated / "control/eval/cap_base.json")
    assert log.eval.metadata == {"tuneloop_digest": request.digest}
    assert log.eval.model == "hf/control@base"
    assert log.eval.model_args["do_sample"] is False
    settings = log.eval.model_generate_config
    assert (settings.max_tokens, settings.seed, settings.temperature) == (8, 1, None)
    assert log.eval.config.limit == 10


def test_rows_equal_inspects_own_accuracy(evaluated: Path) -> None:
    from inspect_ai.log import read_eval_log

    log = read_eval_log(evaluated / "control/eval/logs/cap_base.eval", header_only=True)
    rows = worker.rows(order_of(evaluated))
    assert {row.run for row in rows} == {"control"}
    for score in log.results.scores:
        values = [row.value for row in rows if row.scorer == score.name and row.sample is not None]
        mean = next(iter(score.metrics.values())).value
        assert len(values) == 10
        assert sum(value for value in values if value is not None) / 10 == pytest.approx(mean)
        assert mean in [row.value for row in rows if row.scorer == score.name and row.sample is None]


def test_a_new_design_makes_old_rows_stale(evaluated: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(evaluated, tmp_path / "copy"))
    assert len(worker.rows(order_of(copy))) == len(worker.rows(order_of(evaluated)))
    make_experiment(copy, evaluations=[HEAD["evaluations"][0] | {"generation": {"max_tokens": 9}}])
    write(copy, worker.scaffold(order_of(copy)))
    assert worker.rows(order_of(copy)) == []


# In a process of its own: peft and transformers warn of each other, and here warnings are errors.
MAKE_ADAPTER = """\
import sys
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from tuneloop.workers.inspect.evaluate import hide_old_torchao

hide_old_torchao()
torch.manual_seed(0)
base = AutoModelForCausalLM.from_pretrained(sys.argv[1])
config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
get_peft_model(base, config).save_pretrained(sys.argv[2])
"""


def make_adapter(folder: Path) -> None:
    """Save a LoRA adapter that changes what the base says, as peft writes it."""
    subprocess.run([sys.executable, "-c", MAKE_ADAPTER, str(BASE), str(folder)], check=True, capture_output=True)
    written = json.loads((folder / "adapter_config.json").read_text())
    assert written["base_model_name_or_path"] == str(BASE)


def test_an_adapter_is_evaluated_on_its_base(evaluated: Path) -> None:
    run = evaluated / "rank4"
    make_adapter(run / "epoch_1")
    template = (BASE / "chat_template.jinja").read_text()
    (run / "chat_template.jinja").write_text(template)
    done = run_script(run / "eval/cap_epoch1.slurm")
    assert done.returncode == 0, "".join(path.read_text() for path in (run / "eval").glob("slurm-*.out"))
    assert verdict(run)["facts"]["chat_template"] == "the training's"
    rows = worker.rows(order_of(evaluated))
    said = {
        name: [row.output for row in rows if row.run == name and row.scorer == "similarity" and row.sample]
        for name in ("control", "rank4")
    }
    assert len(said["rank4"]) == 10
    assert said["rank4"] != said["control"]
    assert {row.epoch for row in rows if row.run == "rank4"} == {1}


BREAKS = """\
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import match
from inspect_ai.solver import generate, solver

@solver
def breaks():
    async def solve(state, generate):
        if state.sample_id == 2:
            raise RuntimeError("the tool broke")
        return await generate(state)
    return solve

@task
def broken():
    return Task(dataset=[Sample(id=n, input="a", target="A") for n in (1, 2, 3)], solver=breaks(), scorer=match())
"""


def test_a_broken_sample_fails_the_job(tmp_path: Path) -> None:
    evaluation = {"name": "cap", "task": "broken.py", "generation": {"max_tokens": 2}}
    make_experiment(tmp_path, evaluations=[evaluation])
    (tmp_path / "broken.py").write_text(BREAKS)
    write(tmp_path, worker.scaffold(order_of(tmp_path)))
    done = run_script(tmp_path / "control/eval/cap_base.slurm")
    assert done.returncode == 1
    found = verdict(tmp_path / "control")
    assert found["reason"] == "the evaluation ended with the status `error`: RuntimeError('the tool broke')"
    assert not (tmp_path / "control/eval/logs/cap_base.eval").exists()
    assert worker.rows(order_of(tmp_path)) == []
