"""Before a shell command: what passes, what asks and with which reason, and what is none of the guard's business."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hook_support import guard

import command_line
from lab import cli, make_echo, plan_id
from tuneloop.documents.cache import plan_file
from tuneloop.hooks.guard import answer
from tuneloop.loop import shown

READS = [
    "tuneloop status",
    "tuneloop status runs/demo --json",
    "  tuneloop wait 'runs/two words' --timeout 540",
    ".venv/bin/tuneloop logs runs/clean retry",
    'tuneloop sample runs/demo/control "tuneloop cancel my order"',
    "tuneloop run-experiment runs/demo --dry-run",
    "tuneloop cancel runs/demo --dry-run",
    "tuneloop clean --help",
    "tuneloop scaffold-experiment --help",
    "tuneloop --version",
    "tuneloop skills status",
    "tuneloop skills link --dry-run",
    "tuneloop cluster list",
    "tuneloop cluster add site --ssh login --dry-run",
    "tuneloop cluster check site --dry-run",
    "tuneloop export runs/demo/r001@0 out --dry-run --replace",
    # several of them, and programs that show what one says
    "tuneloop status; tuneloop doctor",
    "tuneloop status runs/demo &&\n tuneloop logs runs/demo || tuneloop doctor\n",
    "cd . && tuneloop status",
    "cd runs; cd demo/.. && tuneloop status",
    "tuneloop status runs/demo | head",
    "tuneloop status 2>&1 | tail -5",
    "tuneloop status 2>/dev/null | tail -n +3 | sort -rn -k 2,2 | wc -l",
    "tuneloop run-experiment runs/x --dry-run | head",
    "tuneloop status --json | jq -r '.experiments[] | select(.error == null)'",
    "tuneloop logs runs/x | grep -i -A 3 'error: *[a-z]' | cat -n | less -R",
    # what a shell leaves alone, or makes names of files
    "tuneloop status runs/* runs/r0[12]?",
    'tuneloop sample runs/x/c@1 "what is it?"',
    "tuneloop sample runs/x/c@1 'a; b & c | d > $HOME `e` {f,g} \\ # *'",
    'tuneloop sample runs/x/c@1 "it\'s \\"$\\" \\`x\\` #!"'.replace('"$\\"', '"\\$\\"'),
    "tuneloop sample runs/x/c@1 what\\ is\\ it\\?",
    "tuneloop \\\n  status runs/demo",
    "tune'loop' status",
]
# Written like reading commands, and perhaps more than that.
UNDECIDED = [
    "tuneloop status runs/demo > status.txt",
    "tuneloop status 2> status.txt",
    "tuneloop status 2>&1 >status.txt",
    "tuneloop status 2>/dev/nullx",
    "tuneloop status runs/demo; ls",
    "tuneloop status runs/demo && ls",
    "tuneloop status $(ls runs)",
    "tuneloop status `ls runs`",
    "tuneloop status runs/demo\nls",
    "tuneloop status &",
    "tuneloop status # what goes on",
    "tuneloop status {a,b}",
    "tuneloop status $HOME",
    'tuneloop status "$HOME"',
    "tuneloop status $'a'",
    "tuneloop status 'a\x1bb'",
    "tuneloop status <<END\nx\nEND",
    "! tuneloop status",
    "{ tuneloop status; }",
    # another folder may bring another library
    "cd /tmp && tuneloop status",
    "cd ../.. && tuneloop status",
    "cd - && tuneloop status",
    "cd ~ && tuneloop status",
    "cd ~nobody-of-this-name; tuneloop status",
    "cd r* && tuneloop status",
    "cd runs | tuneloop status",
    "cd runs",
    # programs that read other files, write, or start something
    "tuneloop status | cat tuneloop.md",
    "tuneloop status | grep -r token",
    "tuneloop status | grep token .env",
    "tuneloop status | grep s*",
    "tuneloop status | head /etc/passwd",
    "tuneloop status | sort -o status.txt",
    "tuneloop status | sort --compress-program=./x",
    "tuneloop status | sort -t x -T /tmp",
    "tuneloop status | less -o status.txt",
    "tuneloop status | jq -f program",
    "tuneloop status | jq . tokens.json",
    "tuneloop status | jq '$ENV.TOKEN'",
    "tuneloop status | jq env",
    "tuneloop status | tee status.txt",
    "tuneloop status | sh",
    "tuneloop status |& head",
    "tuneloop status |",
    "head",
    # their dry runs run what the project holds
    "tuneloop design-experiment runs/x --from design.yaml --dry-run",
    "tuneloop check-experiment runs/x --dry-run",
    "tuneloop scaffold-experiment runs/demo --replace r001 --dry-run",
    "tuneloop scaffold-sometool runs/demo --dry-run",
    "tuneloop create-inspect-task x.py --dry-run",
    "tuneloop run-experiment runs/* --dry-run",
    "tuneloop frobnicate --dry-run",
    "PYTHONPATH=. tuneloop status",
    "/tmp/tuneloop status",
    "python -m tuneloop status",
    "tuneloop status 'runs/demo",
    "tuneloop run-experiment $EXP --dry-run",
    "tuneloop design-experiment runs/x --question 'does it help?'",
    "tuneloop frobnicate",
    "cd ~/tuneloop && make clean",
    "git clone https://example.org/tuneloop && ls",
    "git commit -m 'tuneloop cancel ends jobs'",
    "grep -rn 'tuneloop clean' docs/*.md",
    "rg 'tuneloop cancel'",
    'git log --grep="tuneloop cancel" -5',
    "cat lib/tuneloop/__main__.py",
    "ls runs | xargs -n 1 tuneloop status",
    "PLAN=$(tuneloop run-experiment runs/demo --dry-run --json | jq -r .plan)",
    "cat > notes.md <<'END'\nWhat `tuneloop status` says isn't\nall (yet.\nEND",
    "tuneloop run-experiment runs/demo --dry-run > plan.txt",
    "ls",
]
ASKS = [
    "tuneloop run-experiment runs/demo --yes 4f2a1b22",
    "tuneloop run-inspect runs/demo --yes 4f2a1b22",
    "tuneloop run-sometool runs/demo",
    "tuneloop retry runs/demo --failed",
    "tuneloop cancel runs/demo",
    "tuneloop cluster check site",
    "tuneloop cluster check site && tuneloop status",
    "tuneloop clean runs/demo --keep best --yes 4f2a1b22",
    "tuneloop scaffold-experiment runs/demo --replace r001",
    "tuneloop export runs/demo/r001@0 out --replace",
    "tuneloop status runs/demo && tuneloop cancel runs/demo",
    "tuneloop status runs/demo\ntuneloop cancel runs/demo",
    "tuneloop \\\n  cancel runs/demo",
    "env X=1 tuneloop cancel runs/demo",
    "X=a/tuneloop tuneloop cancel runs/demo",
    "nohup ./.venv/bin/tuneloop cancel runs/demo &",
    "'/two words/tuneloop' cancel runs/demo",
    "python -m tuneloop cancel runs/demo",
    "python3 -m tuneloop.cli.main cancel runs/demo",
    "python lib/tuneloop/__main__.py run-experiment EXP --yes 4f2a1b22",
    "python /x/site-packages/tuneloop/cli/main.py cancel EXP",
    'GIT_EDITOR="tuneloop cancel EXP" git commit',
    "GIT_EDITOR='tuneloop cancel EXP' git commit -m 'as told'",
    "bash -c 'tuneloop cancel runs/demo'",
    "bash -c \"bash -c 'tuneloop cancel runs/demo'\"",
    "eval tuneloop cancel runs/demo",
    "echo $(tuneloop cancel runs/demo)",
    "echo `tuneloop cancel runs/demo`",
    'tuneloop status "$(tuneloop cancel runs/demo)"',
    "(tuneloop cancel runs/demo)",
    "if true; then tuneloop cancel runs/demo; fi",
    "bash <<'END'\ntuneloop cancel runs/demo\nEND",
    'tuneloop can"cel" runs/demo',
    "ls runs | xargs tuneloop cancel",
    "echo cancel runs/demo | xargs tuneloop",
    "TOOL=tuneloop; $TOOL cancel runs/demo",
    "$(which tuneloop) cancel runs/demo",
    "for act in cancel; do tuneloop $act runs/demo; done",
    "alias t=tuneloop; t cancel runs/demo",
    "echo it's; tuneloop cancel runs/demo",
    # a command that cannot be read, with or without an act elsewhere
    "python -mtuneloop cancel x",
    "python -Im tuneloop cancel x",
    "python -Imtuneloop cancel x",
    "tuneloop ${C:-run-experiment} x",
    "tuneloop cl{ea,}n x",
    "tuneloop cle?n x",
    "tuneloop [c]lean x",
    "tuneloop * status",
    "tuneloop -* status",
    "tuneloop st*tus",
    "tuneloop skills $DO",
    r"tuneloop $'\x63lean' x",
    'a=cle b=an; tuneloop "$a$b" x',
    "tuneloop $CMD",
    "tuneloop $(cat cmd)",
    "tuneloop can$(echo cel) x",
    "tuneloop `cat cmd`",
    "tuneloop can`echo cel` x",
    'tuneloop "`cat cmd`"',
    r'tuneloop "\\$CMD" x',
    "xargs tuneloop < words",
    "xargs -I% tuneloop % x < words",
    "find runs -exec tuneloop {} x ';'",
    "nohup /opt/bin/tuneloop $CMD",
    "bash -c 'tuneloop \"$1\" x' _ cancel",
    # the name, written in other ways
    "uvx tuneloop==0.1 clean x",
    "uvx tuneloop@latest clean x",
    "uvx 'tuneloop[all]>=0.1' clean x",
    'tune""loop run-experiment x',
    "tune\\loop run-experiment x",
    "tune\\\nloop run-experiment x",
    "'tuneloop' \\\n\\\n cancel x",
    # scripts in other languages, and behind a shell
    "python -c \"import subprocess; subprocess.run(['tuneloop','clean','x'])\"",
    "python -c \"import os; os.execvp('tuneloop',['tuneloop','clean','x'])\"",
    "python - <<'END'\nimport subprocess\nsubprocess.run(['tuneloop', 'run-torchtune', 'x'])\nEND",
    "bash <<-END\n\ttuneloop $CMD x\n\tEND",
    "cat <<A <<B\nA\ntuneloop cancel x\nB",
    "bash <<< 'tuneloop cancel x'",
    "ssh host 'cd x && tuneloop cancel x'",
    "env -S'tuneloop cancel x'",
    'X="$(tuneloop cancel x)" ls',
    'ls "$(tuneloop cancel x)"',
    "echo $((1<<2))\ntuneloop cancel x",
    # what stands between the name and its command
    "tuneloop 2>/dev/null cancel x",
    "tuneloop 2>log cancel x",
    "tuneloop >log cancel x",
    "tuneloop <&- cancel x",
    "diff <(tuneloop cancel x) y",
    "tuneloop cancel x # --dry-run",
    "# it's\ntuneloop cancel x",
    "cd ~nobody-of-this-name; tuneloop cancel x",
    "tuneloop cancel 'x\0y'",
    "tuneloop status; tuneloop cancel x",
    "tuneloop status | tuneloop cancel x",
    # `--dry-run` that is a value, or an argument
    "tuneloop run-experiment runs/demo --yes --dry-run",
    "tuneloop cancel runs/demo -- --dry-run",
]


@pytest.mark.parametrize("command", READS)
def test_reading_commands_pass(command: str, tmp_path: Path) -> None:
    assert decision(command, tmp_path) == "allow"


@pytest.mark.parametrize("command", UNDECIDED)
def test_whatever_else_is_left_to_the_client(command: str, tmp_path: Path) -> None:
    assert decision(command, tmp_path) is None


@pytest.mark.parametrize("command", ASKS)
def test_submitting_cancelling_and_deleting_asks(command: str, tmp_path: Path) -> None:
    assert decision(command, tmp_path) == "ask"


@pytest.mark.parametrize("tool", ["tuneloop", ".venv/bin/tuneloop", "./.venv/bin/tuneloop"])
def test_outside_of_the_project_nothing_passes(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier `cd` may have led to a folder with another library."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "runs").mkdir(parents=True)
    elsewhere.mkdir()
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(project))
    for folder, passes in ((project, True), (project / "runs", True), (elsewhere, False), (tmp_path, False)):
        assert decision(f"{tool} status", folder) == ("allow" if passes else None)
    assert decision(f"cd {project} && {tool} status", elsewhere) == "allow"
    assert decision(f"cd ../project/runs; cd ../../elsewhere; {tool} status", elsewhere) is None


@pytest.mark.parametrize("command", [command for command in ASKS if "tuneloop" not in command] + ASKS[:1])
def test_the_launcher_sees_each_way_of_writing_the_name(command: str, tmp_path: Path) -> None:
    """It decides by letters alone whether there is anything to do, so it may not miss what the guard would ask about."""
    assert guard(command, tmp_path).decision == "ask"


def decision(command: str, folder: Path) -> object:
    said = answer({"cwd": str(folder), "tool_input": {"command": command}})
    if said is None:
        return None
    output = said["hookSpecificOutput"]
    assert isinstance(output, dict)
    return output["permissionDecision"]


def test_the_launcher_says_what_the_guard_decides(tmp_path: Path) -> None:
    assert guard("tuneloop status", tmp_path).decision == "allow"
    assert guard("tuneloop cancel runs/demo", tmp_path).decision == "ask"
    assert guard('tune""loop cancel runs/demo', tmp_path).decision == "ask"
    assert guard("tuneloop frobnicate", tmp_path) == (0, "", "")


def test_no_dry_run_is_told(tmp_path: Path) -> None:
    asked = guard("tuneloop run-experiment runs/demo", tmp_path)
    assert asked.reason == (
        "Tuneloop: run-experiment runs/demo: no dry run of it is known; `--dry-run` shows what it would do"
    )


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an experiment in `runs/two words` that has a budget of 2 hours."""
    project = tmp_path_factory.mktemp("project")
    make_echo(project / "runs" / "two words", rest="budget: {hours: 2}\n")
    return project


@pytest.mark.slow
def test_the_question_tells_the_plan_while_it_holds(scaffolded: Path) -> None:
    experiment = scaffolded / "runs" / "two words"
    plan = plan_id(experiment)
    said = guard(f"tuneloop run-experiment 'runs/two words' --yes {plan}", scaffolded).reason
    assert said.startswith("Tuneloop: run-experiment runs/two words: 8 jobs of 1 CPU at most, about "), said
    assert " of 2 h on local" in said
    assert said.endswith(f"; plan {plan}, shown just now")

    through = guard(f"cd runs && tuneloop run-experiment 'two words' --yes {plan}", scaffolded).reason
    assert f"plan {plan}, shown just now" in through
    other = guard("tuneloop run-experiment 'runs/two words' --yes 00000000", scaffolded).reason
    assert "plan 00000000 is not the one shown last (8 jobs" in other
    assert "no dry run" in guard("tuneloop clean 'runs/two words'", scaffolded).reason

    summary = experiment / "experiment_summary.md"
    whole = summary.read_text()
    summary.write_text(whole + "\nA note.\n")
    assert f"plan {plan}" in guard("tuneloop run-experiment 'runs/two words'", scaffolded).reason
    summary.write_text(whole.replace("hours: 2", "hours: 3"))
    assert (
        "something has changed since its dry run"
        in guard("tuneloop run-experiment 'runs/two words'", scaffolded).reason
    )
    summary.write_text(whole)
    assert f"plan {plan}" in guard("tuneloop run-experiment 'runs/two words'", scaffolded).reason


@pytest.mark.slow
def test_a_plan_to_cancel_names_its_runs(scaffolded: Path) -> None:
    cli("cancel", scaffolded / "runs" / "two words", "control", "--dry-run")
    assert "ends 0 jobs" in guard("tuneloop cancel 'runs/two words' control", scaffolded).reason
    assert "was about something else" in guard("tuneloop cancel 'runs/two words'", scaffolded).reason


@pytest.mark.slow
def test_each_command_has_a_dry_run_of_its_own(scaffolded: Path) -> None:
    experiment = scaffolded / "runs" / "two words"
    plan = plan_id(experiment)
    cli("cancel", experiment, "--dry-run")
    cli("clean", experiment, "--keep", "last", "--dry-run")
    cli("scaffold-experiment", experiment, "--replace", "control", "--dry-run")
    assert f"plan {plan}" in guard("tuneloop run-experiment 'runs/two words'", scaffolded).reason
    assert "ends 0 jobs" in guard("tuneloop cancel 'runs/two words'", scaffolded).reason
    assert "removes " in guard("tuneloop clean 'runs/two words'", scaffolded).reason
    again = "tuneloop scaffold-experiment 'runs/two words'"
    assert "sets the results of control aside, writes" in guard(f"{again} --replace control", scaffolded).reason
    assert "was about something else" in guard(f"{again} --replace=r001", scaffolded).reason


@pytest.mark.slow
@pytest.mark.parametrize("file", ["tuneloop.yaml", "config/tuneloop/config.yaml"])
def test_a_changed_configuration_makes_an_estimate_old(file: str, scaffolded: Path, tmp_path: Path) -> None:
    experiment = scaffolded / "runs" / "two words"
    path = (scaffolded if file == "tuneloop.yaml" else tmp_path) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    cli("run-experiment", experiment, "--dry-run", env=environment)
    ask = "tuneloop run-experiment 'runs/two words'"
    assert "; plan " in guard(ask, scaffolded, **environment).reason
    path.write_text("clusters: {local: {cost: {gpu_hour: 9}}}\n")
    assert "something has changed since" in guard(ask, scaffolded, **environment).reason
    path.unlink()
    assert "; plan " in guard(ask, scaffolded, **environment).reason


@pytest.mark.slow
def test_the_question_tells_of_a_profile_that_was_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tuneloop.yaml").write_text("clusters: {site: {executor: slurm}}\n")
    CliRunner().invoke(command_line.cli(), ["cluster", "check", "site", "--dry-run"])
    assert "site: no job, for there are faults; shown" in guard("tuneloop cluster check site", tmp_path).reason
    (tmp_path / "tuneloop.yaml").write_text("clusters: {site: {executor: slurm, gpus: 2}}\n")
    assert "something has changed since" in guard("tuneloop cluster check site", tmp_path).reason


def test_the_question_tells_of_an_export_that_was_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown.remember(Path("runs/demo/r1@0").absolute(), "export", "writes a model", rest=["./out/"])
    assert "writes a model; shown just now" in guard("tuneloop export runs/demo/r1@0 out --replace", tmp_path).reason
    assert "something else" in guard("tuneloop export runs/demo/r1@0 other --replace", tmp_path).reason
    assert "no dry run" in guard("tuneloop export runs/demo/r2@0 out --replace", tmp_path).reason


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("cd y; tuneloop retry x --failed", False),
        ("(cd y); tuneloop retry x --failed", True),
        ("(cd y; (cd z); ls) && tuneloop retry x --failed", True),
        ("bash -c 'cd y; tuneloop status'; tuneloop retry x --failed", True),
        ("echo $(cd y); tuneloop retry x --failed", True),
        ("case a in b) cd y;; esac; cd ..; tuneloop retry x --failed", True),
        ("cd y; (cd ..; tuneloop retry x --failed)", True),
        ("tuneloop status; cd y; tuneloop retry x --failed", False),
    ],
)
def test_a_folder_holds_as_long_as_its_shell(line: str, known: bool, tmp_path: Path) -> None:
    remember(tmp_path)
    asked = guard(line, tmp_path)
    assert asked.decision == "ask"
    assert ("8 jobs; plan 4f2a1b22" in asked.reason) == known


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_fails_no_command(scaffolded: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    experiment = scaffolded / "runs" / "two words"
    for command in (["run-experiment", experiment, "--dry-run"], ["status", experiment]):
        cli(*command, env={"XDG_STATE_HOME": str(blocked)})


def remember(project: Path, **changed: object) -> None:
    """Remember a plan of an experiment without files in `project`/x."""
    (project / "x").mkdir(exist_ok=True)
    value = {
        "base": str(project / "x"),
        "command": "retry",
        "plan": "4f2a1b22",
        "rest": [],
        "what": "8 jobs",
        "time": time.time() - 200,
        "files": [],
        "fingerprint": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    entry = plan_file(project / "x", "retry")
    entry.parent.mkdir(parents=True, exist_ok=True)
    entry.write_text(json.dumps(value | changed))


def test_what_is_remembered_is_told_in_one_plain_line(tmp_path: Path) -> None:
    remember(tmp_path)
    asked = guard("tuneloop retry x --failed --yes 4f2a1b22", tmp_path)
    assert asked.reason == "Tuneloop: retry x: 8 jobs; plan 4f2a1b22, shown 3 min ago"
    remember(tmp_path, what="8 jobs\x1b[2J\n`rm -rf`" + "long " * 100)
    reason = guard("tuneloop retry x --failed", tmp_path).reason
    assert len(reason) < 200
    assert not set("\x1b\n`") & set(reason)


@pytest.mark.parametrize(
    "broken",
    [
        {"time": "soon"},
        {"files": 3},
        {"files": ["/etc/*"]},
        {"files": ["**/*"]},
        {"files": ["../*"]},
        {"files": ["a*"] * 1000},
        {"files": [""]},
        {"rest": None},
        {"base": "/proc"},
        {"base": 3},
    ],
)
def test_a_broken_memory_still_asks(broken: dict[str, object], tmp_path: Path) -> None:
    remember(tmp_path, **broken)
    asked = guard("tuneloop retry x --failed", tmp_path)
    assert asked.decision == "ask"
    assert "no dry run of it is known" in asked.reason


@pytest.mark.parametrize("text", ["", "[]", "3", "[" * 100_000, "\udcff", "{}"])
def test_a_memory_that_is_none_still_asks(text: str, tmp_path: Path) -> None:
    remember(tmp_path)
    plan_file(tmp_path / "x", "retry").write_bytes(text.encode(errors="surrogateescape"))
    assert "no dry run of it is known" in guard("tuneloop retry x --failed", tmp_path).reason


@pytest.mark.parametrize(
    "command",
    [
        "x=" + "a" * 5_000_000 + "; tuneloop cancel x",
        "tuneloop status " + "runs/demo " * 300_000,
        "x " + "tuneloop " * 3_300,
        "bash -c '" + "tuneloop cancel x;" * 1_600 + "'",
        "tuneloop cancel " + "--keep x " * 3_000,
        "(" * 29_000 + "tuneloop cancel x",
        "cat <<E\n" + "\n" * 29_000 + "tuneloop cancel x",
    ],
    ids=lambda command: f"{command[:10]}, {len(command)} long",
)
def test_a_long_command_is_decided_in_time(command: str, tmp_path: Path) -> None:
    assert guard(command, tmp_path).decision == "ask"
