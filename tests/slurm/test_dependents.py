"""What jobs wait for on a real SLURM: each evaluation for its own training alone, the report for all that there is."""

from pathlib import Path

import pytest

from lab import cli, events, plan_id, starts, states
from slurm_cluster import DevCluster
from slurm_lab import hand_over, make_on_slurm, reasons, shims, wait

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("on_cluster")]

# More than SLURM tells apart by itself: the first fails last, the others go or end at once.
SLOW, QUICK = 9, 10
UNEQUAL = ", ".join(
    [
        "{lr: 1, seconds: 12, fail: 3}",
        *(f"{{lr: {number}, seconds: 6, fail: 0}}" for number in range(2, SLOW + 1)),
        *(f"{{lr: {SLOW + number}, seconds: 0, fail: 0}}" for number in range(1, QUICK + 1)),
    ]
)


def began(folder: Path, pattern: str) -> dict[str, float]:
    """Return when each job began, by run."""
    return {path.relative_to(folder).parts[0]: path.stat().st_mtime for path in folder.glob(f"{pattern}/start.json")}


def ended(folder: Path, pattern: str) -> dict[str, float]:
    return {path.relative_to(folder).parts[0]: path.stat().st_mtime for path in folder.glob(f"{pattern}/exit.json")}


def test_no_evaluation_waits_for_the_training_of_another_run(tmp_path: Path, cluster: DevCluster) -> None:
    folder = make_on_slurm(tmp_path / "lab", f"[{UNEQUAL}]", "{epochs: 1, steps: 4}")
    forget = cluster.folder / "slurm.conf"
    text = forget.read_text()
    cluster.stop("slurmctld")
    forget.write_text(text.replace("MinJobAge=300", "MinJobAge=2"))
    cluster.start("slurmctld")
    try:
        hand_over(folder)
        assert wait(folder) == 1
    finally:
        cluster.stop("slurmctld")
        forget.write_text(text)
        cluster.start("slurmctld")
    assert "MinJobAge=300" in text
    found = {key: state for key, (state, _) in reasons(folder).items() if state != "done"}
    failed = "lr1_seconds12_fail3"
    assert found == {f"train/{failed}": "failed", f"eval/{failed}/e0/cap": "blocked"}
    slow = min(time for run, time in ended(folder, "*/.attempts/train/*").items() if "seconds6" in run)
    quick = [time for run, time in began(folder, "*/.attempts/cap_epoch0/*").items() if "seconds0" in run]
    assert len(quick) == QUICK
    assert max(quick) < slow


def test_two_runs_that_evaluate_one_checkpoint_are_both_evaluated(tmp_path: Path) -> None:
    folder = make_on_slurm(tmp_path / "lab", "{lr: [1e-3, 1e-4]}", "{epochs: 1, seconds: 0.2, steps: 4}")
    summary = folder / "experiment_summary.md"
    twins = "".join(
        f"\n- {{name: x{number}, kind: eval-only, checkpoint: {run}@0}}"
        for number, run in enumerate(["lr1e-3", "lr1e-3", "lr1e-4"])
    )
    text = summary.read_text()
    at = text.index("name: control")
    line = text.rfind("\n", 0, at)
    summary.write_text(f"{text[:line]}{twins}{text[line:]}")
    cli("scaffold-experiment", folder)
    hand_over(folder)
    assert wait(folder) == 0, reasons(folder)
    assert set(states(folder).values()) == {"done"}
    assert set(starts(folder).values()) == {1}


# Takes all but the first job that collects after the flag is there.
_NO_REPORT = """\
if [ -e {flag} ] && grep -q run-experiment.log "$2"; then
  rm {flag}
  echo 'sbatch: error: Batch job submission failed: Job violates accounting/QOS policy' >&2
  exit 1
fi
exec "$REAL" "$@"
"""


def test_a_report_that_was_refused_comes_with_the_same_command(tmp_path: Path, cluster: DevCluster) -> None:
    folder = make_on_slurm(tmp_path / "lab", "{lr: [1e-3]}", "{epochs: 1, seconds: 8, steps: 4}")
    hand_over(folder)
    _, old, _ = events(folder)[-1]["native"]  # the report is handed over last
    summary = folder / "experiment_summary.md"
    summary.write_text(summary.read_text().replace("lr: [0.001]", "lr: [0.001, 0.0001]"))
    cli("scaffold-experiment", folder)
    flag = tmp_path / "flag"
    flag.touch()
    env = shims(tmp_path / "bin", _NO_REPORT.format(flag=flag))
    plan = plan_id(folder)
    refused = cli("run-experiment", folder, "--yes", plan or "", "--detach", check=False, env=env)
    assert refused.returncode == 1
    assert f"`tuneloop run-experiment {folder}` hands over the rest" in refused.stderr
    assert cluster.state(old) in ("PENDING", "RUNNING", "COMPLETED"), "the report of the first jobs is lost"
    hand_over(folder)
    assert wait(folder) == 0, reasons(folder)
    assert [line["keys"] for line in events(folder) if line["event"] == "submitting"][-1] == ["collect"]
    assert "lr1e-4" in (folder / "analysis" / "report.md").read_text()
