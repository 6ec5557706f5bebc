"""Companions: the further models of a method, a teacher to learn from or a reward model to please.

They only compute; what trains is the design's `model`. Both must read that model's tokens.
"""

from dataclasses import dataclass

from tuneloop.documents.errors import InputError
from tuneloop.documents.files import read_text
from tuneloop.experiment.identity import model_hash
from tuneloop.experiment.references import parse_reference
from tuneloop.experiment.work import Fault
from tuneloop.workers import Order
from tuneloop.workers.faults import model_folder_fault
from tuneloop.workers.hub import model_folder
from tuneloop.workers.torchtune.families import ModelFolder, read_model
from tuneloop.workers.torchtune.recipes import COMPANIONS

_CLASSIFIER = "ForSequenceClassification"  # how transformers' architectures of classifiers end
_CLASSIFIERS = ("qwen2", "llama2", "llama3", "mistral")  # families whose classifiers components/classifier.py loads


@dataclass(frozen=True)
class Companion:
    model: ModelFolder
    hash: str


def read_companions(order: Order, model: ModelFolder | None) -> tuple[dict[str, Companion], list[Fault]]:
    """Return the further models that the method names, and every fault in them."""
    found: dict[str, Companion] = {}
    faults: list[Fault] = []
    method = order.design.method
    for name, objective in COMPANIONS.items():
        text = getattr(method, name)
        if text is None or method.objective != objective:
            continue
        at = ("method", name)
        folder = model_folder(text, order.path)
        if not folder.is_dir() and parse_reference(text) is not None:
            what = name.replace("_", " ")
            hint = f"`tuneloop export {text} DIR` makes a folder of it"
            faults.append(Fault(f"a {what} is a model folder, and `{text}` is a checkpoint", at, hint))
            continue
        if fault := model_folder_fault(text, folder, at):
            faults.append(fault)
            continue
        try:
            read = read_model(folder)
        except InputError as error:
            hint = f"set `{name}:` to another model folder, or mend this one"
            faults += [Fault(f"{item.source}: {item.message}", at, item.hint or hint) for item in error.problems]
            continue
        found[name] = Companion(read, model_hash(folder))
        if name == "reward_model":
            faults += _classifier_faults(read, at)
        if model is not None:
            faults += _differing(name, read, model, at)
    return found, faults


def _classifier_faults(read: ModelFolder, at: tuple[str, ...]) -> list[Fault]:
    """A reward is one number for a text. A config without labels has two, transformers' default."""
    kinds = read.config.get("architectures") or [""]
    labels = read.config.get("id2label") or {"0": "", "1": ""}
    if read.family.name not in _CLASSIFIERS:
        hint = f"use one of the families {', '.join(_CLASSIFIERS)} with the model's tokenizer"
        return [Fault(f"a reward model of the family {read.family.name} cannot be loaded", at, hint)]
    if not str(kinds[0]).endswith(_CLASSIFIER):
        hint = "train one with transformers' AutoModelForSequenceClassification and num_labels=1"
        return [Fault(f"the reward model is a {kinds[0] or 'model of no kind'}, no classifier", at, hint)]
    if len(labels) != 1:
        return [Fault(f"the reward model has {len(labels)} labels, a reward is one number", at, "set num_labels=1")]
    return []


def _differing(name: str, read: ModelFolder, model: ModelFolder, at: tuple[str, ...]) -> list[Fault]:
    what = name.replace("_", " ")
    ours, theirs = model.config["vocab_size"], read.config["vocab_size"]
    if name == "teacher" and ours != theirs:
        # The two distributions over the vocabulary are compared number by number.
        message = f"the teacher has a vocabulary of {theirs:,} tokens, the model one of {ours:,}"
        return [Fault(message, at, "choose a teacher of the model's own family and vocabulary")]
    if _vocabulary(read) != _vocabulary(model):
        return [Fault(f"the {what} reads other tokens than the model", at, "choose one with the model's tokenizer")]
    return []


def _vocabulary(model: ModelFolder) -> object:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(read_text(model.tokenizer)).get_vocab()
