"""Somebody who types what the slash commands say, and nothing else: no agent, no network.

Reads the blocks of the texts, fills in their placeholders, types the commands in a real shell and ticks each task by
the exit code of its own.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from command_reading import TASK, block

from spec_texts import EXP, FEATURE, SPECIFICATION, WORDS, cut, filled

ROOT = Path(__file__).resolve().parents[2]
TRAINING_ROWS = 800  # of 2,000: 25 steps, after which the tiny base capitalizes most words


@dataclass
class Walk:
    project: Path
    words: dict[str, str] = field(default_factory=lambda: dict(WORDS))
    typed: list[tuple[str, int]] = field(default_factory=list)  # each command with its exit code

    @property
    def experiment(self) -> Path:
        return self.project / EXP

    @property
    def tasks(self) -> Path:
        return self.project / FEATURE / "tasks.md"

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """Type one line with its placeholders filled in; returns its exit code and what it printed."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", filled(line, self.words)],
            cwd=self.project,
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        self.typed.append((line, done.returncode))
        return done

    def specify(self) -> None:
        """A person's words; what a machine reads of them is the place of the feature."""
        (self.project / FEATURE).mkdir(parents=True)
        (self.project / "data").mkdir()
        rows = (ROOT / "examples/capitalization/data/train.jsonl").read_text().splitlines(keepends=True)
        (self.project / "data/train.jsonl").write_text("".join(rows[:TRAINING_ROWS]))
        shutil.copy(ROOT / "examples/capitalization/data/test.jsonl", self.project / "data")
        shutil.copytree(ROOT / "examples/tiny-base", self.project / "model")
        (self.project / FEATURE / "spec.md").write_text(SPECIFICATION)

    def plan(self) -> None:
        """Write the design as `plan` shows it, cut to one run and to one evaluation of twenty items."""
        (self.project / FEATURE / "design.yaml").write_text(cut(filled(block("plan", "yaml"))))
        for line in block("plan", "sh").splitlines():
            done = self.type(line)
            assert done.returncode == 0, done.stderr

    def break_down(self) -> None:
        self.tasks.write_text(filled(block("tasks", "markdown")))

    def implement(self) -> None:
        """Type the proof of each open task in order; tick it at exit code 0, stop at any other."""
        for found in TASK.finditer(self.tasks.read_text()):
            ticked, number, proof = found[1] == "X", found[2], found[5]
            if ticked:
                continue
            done = self.type(proof)
            while done.returncode == 5:
                done = self.type(proof)
            if done.returncode != 0:
                return
            self._tick(number)
            shown = re.search(r"^plan (\w+)$", done.stdout, re.MULTILINE)
            if shown:  # a person has read it and says yes to this id
                self.words["PLAN"] = shown[1]

    def _tick(self, number: str) -> None:
        text = self.tasks.read_text()
        self.tasks.write_text(text.replace(f"- [ ] {number} ", f"- [X] {number} "))

    def close(self) -> None:
        """Write the line of the criterion under Notes, its numbers as the report prints them."""
        report = (self.experiment / "analysis/report.md").read_text()
        row = re.search(r"^\| rank\S* \|.*\| (\d+) \| .* \| (\S+ \[.*\]) \| \**(\w+)\** \|$", report, re.MULTILINE)
        assert row is not None, report
        end = {"better": "passed", "worse": "failed"}.get(row[3], "inconclusive")
        with (self.experiment / "experiment_summary.md").open("a") as summary:
            summary.write(f"\n- SC-001: {end}, {row[2]}, n = {row[1]}, analysis/report.md\n")

    def open_tasks(self) -> list[str]:
        return [found[2] for found in TASK.finditer(self.tasks.read_text()) if found[1] == " "]
