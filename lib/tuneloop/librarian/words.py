"""The words of a sentence as the ranker compares them: stems, with words of one meaning made one.

A model that reads a listing knows that a yaml is a config and that a job that died has failed. The table says as much
of that as a lexical ranker needs; it is about the trade, and knows no skill and no request.
"""

import re

_WORD = re.compile(r"[A-Za-z]*\d\w*|[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # splits OutOfMemoryError, keeps 7B
_ENDINGS_LONGEST_FIRST = "ations ation ings ing ers ates ated ate ies ied ed er es s e y"
_SHORTEST_STEM = 3  # characters; what is shorter says too little to lose its ending

# Words that every request is full of, and what an apostrophe cuts off.
_SILENT_WORDS = """
a about actually after all also am an and any anything are as at back be because been before being but by
came can come could d did do does doing even for from get give go goes going good got had has have he her here him
his how i if im in into is it its just keep know let like ll look looks m make me more most my need needs new no nor
not nothing now of off ok on once one ones or other our out over own please pls put re really right s said say see
should so some something such t take tell than thanks that the their them then there these they thing things this
those through to too u under until up us use used very want wants was way we well went were what whats when where
which while who why will with would yes yet you your
"""

# A line is a meaning; the first word stands for it.
_SAME = (
    "train trained finetune finetuning fine tune tuning ft",
    "evaluate eval score scorer",
    "benchmark task",
    "start launch submit kick begin",
    "stop cancel kill abort",
    "fail failure crash die died dead error broken",
    "hang hung stuck wait pending queue",
    "resume continue carry pick interrupt preempt reboot",
    "again retry redo repeat rerun resubmit",
    "progress status far",
    "done finished finish complete",
    "write generate regenerate create build turn",
    "config yaml configuration",
    "script slurm sbatch bash",
    "folder directory dir",
    "setting parameter option argument args arg hyperparameter key",
    "refuse reject complain invalid unknown",
    "memory oom vram",
    "diverge explode nan",
    "cost budget hours price estimate",
    "noise chance significant significance real",
    "win won beat better best improve winner",
    "difference differ margin gap",
    "report summarise writeup paper",
    "compare comparison versus vs against",
    "plan design",
    "measure metric",
    "baseline control",
    "vary grid ablation",
    "lr rate",
    "optimizer adamw adam decay",
    "schedule scheduler warmup cosine",
    "data dataset csv jsonl rows",
    "grade judge rubric",
    "matter help worth useful",
    "alone only",
    "everything whole lot entire",
    "edit change",
    "conclude claim mean believe",
    "answer reference target label gold",
    "regex regexp pattern",
    "constant hold held",
)


def stems(text: str) -> list[str]:
    """Return the words of a text that say something, in order, each as its stem or as the first word of its meaning."""
    words = [word.lower() for word in _WORD.findall(text)]
    return [_FIRST.get(stem, stem) for stem in (_stem(word) for word in words if word not in _SILENT)]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            word = word.removesuffix(ending)
            break
    return word[:-1] if len(word) > _SHORTEST_STEM and word[-1] == word[-2] else word


_ENDINGS = tuple(_ENDINGS_LONGEST_FIRST.split())
_SILENT = frozenset(_SILENT_WORDS.split())
_FIRST = {_stem(word): _stem(line.split()[0]) for line in _SAME for word in line.split()}
MEANINGS = frozenset(_FIRST.values())
