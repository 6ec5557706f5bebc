"""Documents name real things: commands, flags, programs, files, links and keys, as the tree and the library have them.

Each check returns the faults it finds; one that read nothing, or lets the known-bad text below pass, fails.
"""

from pathlib import Path

import docs_commands
import docs_files
import docs_keys
import pytest
from docs_reading import EXAMPLES, PACK, PROSE, ROOT, SKILLS, blocks, commands_in, inline_codes, links, shell_lines

from command_line import cli, commands

BAD_TEXT = """\
Type `tuneloop desing-experiment x` or `tuneloop wait EXP --timeuot 3`, perhaps with `--frobnicate`.
See [this](nowhere/at-all.md) and [that](#no-such-heading), `no-such-file.md`, `lib/tuneloop/gone.py`
and `experiment/nowhere.py`; then type `/no-such-command EXP`.
Ask **no-such-agent**, or see `run-inspekt-experiment`; set up with `tuneloop-setup --whith train`.

Set `metrics.primray`, `controls.learning_rat`, `clusters.slurm.partition` or `smalest_effect`, `updaet: lora`,
`update: lroa`, `at: first` and `lr: high`; it lies in `tuneloop.wokers`.

1. In a list:

   ```sh
   tuneloop cancel   # without an experiment
   tuneloop check-experiment runs/x --only everything
   tuneloop analyze-experiment examples/no-such-experiment
   make no-such-target && pip install -e '.[no-such-extra]'
   python scripts/no-such-script | frobnicate --now
   tuneloop design-experiment runs/y --from examples/capitalization/design.yaml --dry-run
   tuneloop status runs/y
   ```

```yaml
controls: {lr: 1e-3}
variabels: {}
```

```yaml
data: [{split: test, path: a.jsonl}]
```

```yaml
clusters: {here: {slot: 1}}
```

```json
{"open": }
```

```klingon
nuqneH
```
"""
FOUND = (
    "no such command: tuneloop desing-experiment x",
    "--timeuot",
    "no command has the flag --frobnicate",
    "nowhere/at-all.md",
    "#no-such-heading",
    "no such file: no-such-file.md",
    "no such file: lib/tuneloop/gone.py",
    "no such file: experiment/nowhere.py",
    "no slash command /no-such-command",
    "nothing is called no-such-agent",
    "tuneloop-setup has no --whith",
    "nothing is called run-inspekt-experiment",
    "no such key: metrics.primray",
    "no such key: controls.learning_rat",
    "no such key: clusters.slurm.partition",
    "nothing is called smalest_effect",
    "no such key: updaet:",
    "no value of update: lroa",
    "no value of at: first",
    "no value of lr: high",
    "no such key: tuneloop.wokers",
    "tuneloop cancel: Missing",
    "everything",
    "no such path: examples/no-such-experiment",
    "no make target no-such-target",
    "no extra no-such-extra",
    "no script scripts/no-such-script",
    "unknown program: frobnicate",
    "no such path: runs/y in tuneloop status runs/y",
    "unknown key `variabels`",
    "no entry of `data` has `split: train`",
    "unknown key `clusters.here.slot`",
    "JSON:",
    "a block of the kind klingon",
)
GOOD_TEXT = """\
`tuneloop wait`, `tuneloop explain EXP RUN`, `--dry-run`, `make test`, `lib/tuneloop/cli/`, `documents/files.py`,
`EXP/analysis/report.html`, `epoch_<N>/adapter_model.safetensors`, `RUN/metrics.jsonl`, `metrics.primary.direction`,
`controls.lr`, `data.columns`, `clusters.slots`, `smallest_effect: 0.02`, `at: last`, `update: qlora`, `lr: 3e-4`,
`controls:`, `model: EXPERIMENT/RUN@EPOCH`, `gradient_accumulation`, `tuneloop.workers`, [this](README.md#recipes).

```sh
make demo   # first
tuneloop split examples/capitalization/data/train.jsonl runs/parts \\
  --shares train=0.9,test=0.1 && cp -R examples/capitalization runs/mine
tuneloop design-experiment runs/rank --from runs/mine/design.yaml
tuneloop run-experiment runs/rank --dry-run
```
"""


def text_faults(text: str, source: Path) -> list[str]:
    found = [*docs_commands.faults(text), *docs_files.faults(text, source)]
    # What examples put into backticks is what their data say.
    return found if source in EXAMPLES else [*found, *docs_keys.faults(text, source)]


@pytest.mark.parametrize("path", [*PROSE, *PACK, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_real_things(path: Path) -> None:
    assert text_faults(path.read_text(), path) == []


def test_enough_was_read() -> None:
    texts = [path.read_text() for path in [*PROSE, *PACK, *EXAMPLES]]
    assert len(SKILLS) >= 9
    assert set(SKILLS) <= set(PACK)
    assert sum(len(list(commands_in(text))) for text in texts) > 80
    assert sum(len(links(text)) for text in texts) > 40
    assert sum(code in docs_keys.schema_keys() for text in texts for code in inline_codes(text)) > 30
    assert sum(len(blocks(text, "yaml", "json")) for text in texts) >= 4
    assert len(list(commands_in((ROOT / "README.md").read_text()))) > 10


def test_groups_of_commands_are_walked() -> None:
    groups = [name for name, command in cli().commands.items() if hasattr(command, "commands")]
    assert {"status", "skills link"} <= set(commands())
    assert {words.split()[0] for words in commands()} == set(cli().commands)
    assert all(len(words.split()) == 2 for words in commands() if words.split()[0] in groups)


def test_bad_text_is_rejected() -> None:
    faults = "\n".join(text_faults(BAD_TEXT, ROOT / "README.md"))
    assert [words for words in FOUND if words not in faults] == []


def test_good_text_is_not() -> None:
    assert text_faults(GOOD_TEXT, ROOT / "README.md") == []


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("a b # c", [["a", "b"]]),
        ("a && b -c; d | e > f", [["a"], ["b", "-c"], ["d"], ["e"], ["f"]]),
        ("X=1 a 'b c'", [["a", "b c"]]),
        ("a \\\n  --b", [["a", "--b"]]),
        ('a "open', []),
    ],
)
def test_shell_lines_are_read(line: str, commands: list[list[str]]) -> None:
    assert shell_lines(line) == commands
