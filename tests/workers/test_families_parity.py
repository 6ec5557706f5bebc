"""What torchtune trains is what transformers and peft load: the same logits, for every family and kind of update."""

from pathlib import Path
from typing import Any

import pytest
import small_models
import torch
from omegaconf import OmegaConf
from torchtune import config as tune
from torchtune.modules.peft import get_adapter_params, get_adapter_state_dict

import torchtune_case as case
from tuneloop.documents.errors import FailedError
from tuneloop.workers.torchtune.attempts import Setup, read_setup
from tuneloop.workers.torchtune.exporting import exported
from tuneloop.workers.torchtune.families import read_model
from tuneloop.workers.torchtune.finishing import finish
from tuneloop.workers.torchtune.loading import Base, load
from tuneloop.workers.torchtune.weights import resumable, whole

pytestmark = pytest.mark.slow

# In float32; both sides add up the same numbers in another order.
TOLERANCE = 1e-5  # measured: 1.2e-6 at most
FAMILIES = sorted(small_models.SMALL)
LENGTH = 40
ATTENTION = ["q_proj", "k_proj", "v_proj", "output_proj"]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: small_models.make(name, tmp_path_factory.mktemp(name) / name) for name in FAMILIES}


def scaffolded(folder: Path, model: Path, update: str, **controls: Any) -> Setup:
    """Return the setup of a run as it is scaffolded."""
    controls = {"epochs": 1, "batch_size": 8, **controls}
    asked = case.order(folder, model=str(model), method={"update": update}, controls=controls)
    job = case.scaffolded(asked).jobs[0]
    return read_setup(folder / str(job.run))


def built(setup: Setup, output: Path, **more: Any) -> tuple[Any, Any]:
    """Return torchtune's model with the folder's weights, and its checkpointer, from the run's own config."""
    config = setup.config()
    said = config["checkpointer"] | {"checkpoint_dir": str(setup.model), "output_dir": str(output)}
    checkpointer = tune.instantiate(OmegaConf.create(said))
    torch.manual_seed(0)
    model = tune.instantiate(OmegaConf.create(config["model"] | more))
    missing, unexpected = model.load_state_dict(checkpointer.load_checkpoint()["model"], strict=False)
    assert not unexpected
    assert set(missing) == set(get_adapter_params(model))
    return model.eval(), checkpointer


def logits(model: Any) -> torch.Tensor:
    ids = torch.randint(0, 256, (2, LENGTH), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = model(ids)
    return found if isinstance(found, torch.Tensor) else found.logits


def difference(ours: Any, theirs: Any) -> float:
    found, wanted = logits(ours), logits(theirs)
    assert wanted.std() > 0.1  # or nothing is compared
    return float((found - wanted).abs().max() / wanted.abs().max())


def disturb(weights: Any) -> None:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in weights:
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))


def train_a_little(model: Any) -> None:
    """Give the adapters values as training would: magnitudes from the weights, then all of them moved."""
    for module in model.modules():
        if hasattr(module, "initialize_dora_magnitude"):
            module.initialize_dora_magnitude()
    disturb(get_adapter_params(model).values())


@pytest.mark.parametrize("family", FAMILIES)
def test_full_weights_are_the_same_model(family: str, models: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    setup = scaffolded(tmp_path, models[family], "full")
    model, checkpointer = built(setup, tmp_path / "out")
    base = AutoModelForCausalLM.from_pretrained(models[family])
    assert sum(weight.numel() for weight in base.parameters()) == read_model(models[family]).parameters
    assert difference(model, base) < TOLERANCE

    disturb(model.parameters())
    checkpointer.save_checkpoint({"model": model.state_dict()}, epoch=0)
    finish(setup, tmp_path / "out" / "epoch_0")
    saved = load(setup, tmp_path / "out" / "epoch_0", Base(setup))
    assert difference(saved, base) > 0.1
    assert difference(model, saved) < TOLERANCE


ADAPTERS = [(ATTENTION, True, False), (["q_proj", "v_proj"], False, False), (ATTENTION, True, True)]


@pytest.mark.parametrize("attention, mlp, dora", ADAPTERS, ids=["lora", "lora-qv", "dora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_is_the_same_model(
    family: str, models: dict[str, Path], tmp_path: Path, attention: list[str], mlp: bool, dora: bool
) -> None:
    targets = [*attention, *(["mlp"] if mlp else [])]
    setup = scaffolded(tmp_path, models[family], "lora", lora_rank=4, lora_alpha=12, lora_targets=targets)
    builder = read_model(models[family]).family.dora_builder
    more = {"use_dora": True, "_component_": builder} if dora else {}
    model, checkpointer = built(setup, tmp_path / "out", **more)
    train_a_little(model)
    said = {"r": 4, "lora_alpha": 12, "target_modules": list(attention), "peft_type": "LORA"}
    state = {"model": {}, "adapter": get_adapter_state_dict(model.state_dict()), "adapter_config": said}
    checkpointer.save_checkpoint(state, epoch=0, adapter_only=True)

    folder = tmp_path / "out" / "epoch_0"
    finish(setup, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    finish(setup, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert difference(model, load(setup, folder, Base(setup))) < TOLERANCE


def test_torchtunes_own_gemma2_is_another_model(models: dict[str, Path], tmp_path: Path) -> None:
    """When this fails, torchtune has been mended and our component can go."""
    from transformers import AutoModelForCausalLM

    setup = scaffolded(tmp_path, models["gemma2"], "full")
    model, _ = built(setup, tmp_path / "out", _component_="torchtune.models.gemma2.gemma2")
    assert difference(model, AutoModelForCausalLM.from_pretrained(models["gemma2"])) > 0.1


def test_torchtunes_own_dora_scales_biases(models: dict[str, Path], tmp_path: Path) -> None:
    """When this fails, torchtune has been mended and our component can go."""
    setup = scaffolded(tmp_path, models["qwen2"], "lora", lora_rank=4)
    own, _ = built(setup, tmp_path / "own", use_dora=True)
    ours, _ = built(setup, tmp_path / "ours", use_dora=True, _component_=read_model(setup.model).family.dora_builder)
    for model in (own, ours):
        train_a_little(model)
    assert difference(own, ours) > 0.01


def test_a_dora_adapter_on_a_part_of_a_fused_matrix_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    setup = scaffolded(tmp_path, models["phi3"], "lora", lora_rank=4, lora_targets=["q_proj", "v_proj"])
    model, _ = built(setup, tmp_path / "out", use_dora=True)
    with pytest.raises(FailedError, match="needs k_proj, too"):
        exported(get_adapter_state_dict(model.state_dict()), read_model(setup.model).family.layout, 8)


def test_an_adapter_in_torchtunes_form_alone_is_whole(models: dict[str, Path], tmp_path: Path) -> None:
    """torchtune writes no other for Phi-3, and a resume goes on from it."""
    path = tmp_path / "adapter_model.pt"
    assert not whole(tmp_path, lora=True)
    torch.save({"weight": torch.zeros(2)}, path)
    assert whole(tmp_path, lora=True)
    assert resumable(tmp_path, lora=True)
    path.write_bytes(path.read_bytes()[:-20])
    assert not whole(tmp_path, lora=True)
