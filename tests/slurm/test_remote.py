"""An experiment on clusters that are reached over SSH: a real sshd and two development clusters side by side."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import lab
from slurm_cluster import DevCluster
from sshd import HOST, Sshd, serving
from tuneloop.documents.yamltext import dump_yaml
from tuneloop.experiment.layout import Layout
from tuneloop.jobs.journal import Journal

# sbatch of a login node that goes away while the second submission is under way.
_CUT = """\
#!/bin/sh
real=$(PATH=$AFTER command -v sbatch)
[ -e "$MARK.first" ] || { : >"$MARK.first"; exec "$real" "$@"; }
id=$("$real" "$@") || exit
if [ ! -e "$MARK" ]; then
  : >"$MARK"
  sleep 2
fi
echo "$id"
"""


@contextmanager
def login(cluster: DevCluster, folder: Path, **variables: str) -> Iterator[Sshd]:
    """A host on which the cluster's commands are at hand, as on a login node."""
    found = {**cluster.env, "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **variables}
    with serving(folder, "SetEnv " + " ".join(f"{name}={value}" for name, value in found.items())) as daemon:
        yield daemon


def profile(daemon: Sshd, scratch: Path, **more: object) -> dict[str, object]:
    return {
        "executor": "slurm",
        "cpus": 1,
        "ssh": HOST,
        "ssh_config": str(daemon.config),
        "scratch": str(scratch),
        "python": sys.executable,
        **more,
    }


def tokens(folder: Path) -> list[str]:
    events = Journal(Layout(folder)).read()
    return [event.data["token"] for event in events if event.kind == "submitting"]


def test_runs_on_two_clusters_are_collected_here(
    cluster: DevCluster, second_cluster: DevCluster, tmp_path: Path
) -> None:
    with login(cluster, tmp_path / "one") as first, login(second_cluster, tmp_path / "two") as second:
        clusters = {
            "far": profile(first, tmp_path / "there"),
            "farther": profile(second, tmp_path / "elsewhere"),
        }
        (tmp_path / "tuneloop.yaml").write_text(dump_yaml({"clusters": clusters}))
        folder = lab.make_echo(tmp_path / "exp", rest="cluster: far\n", scaffold=False)
        summary = (folder / "experiment_summary.md").read_text()
        placed = summary.replace("runs:\n", "runs:\n- {name: lr1e-4, cluster: farther}\n", 1)
        (folder / "experiment_summary.md").write_text(placed)
        lab.cli("scaffold-experiment", folder)
        said = lab.run(folder, "--follow", check=False)
        assert said.returncode == 0, said.stdout + said.stderr
        assert "handed over to far and farther and local" in said.stdout
        assert sum(bool(cluster.accounting_rows(token)) for token in tokens(folder)) == 4
        assert sum(bool(second_cluster.accounting_rows(token)) for token in tokens(folder)) == 3
        assert (folder / "analysis" / "report.html").is_file()
        assert set(lab.starts(folder).values()) == {1}


def test_an_experiment_survives_every_break_of_its_connection_to_a_cluster_that_sees_nothing_of_this_machine(
    cluster: DevCluster, tmp_path: Path
) -> None:
    shims, mark = tmp_path / "shims", tmp_path / "mark"
    shims.mkdir()
    (shims / "sbatch").write_text(_CUT)
    (shims / "sbatch").chmod(0o755)
    after = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    variables = {"PATH": f"{shims}:{after}", "AFTER": after, "MARK": str(mark)}
    with login(cluster, tmp_path / "sshd", **variables) as daemon:
        clusters = {"far": profile(daemon, tmp_path / "there")}
        (tmp_path / "tuneloop.yaml").write_text(dump_yaml({"clusters": clusters}))
        inputs = tmp_path / "inputs"
        inputs.mkdir()
        folder = lab.make_echo(
            tmp_path / "exp", controls="{epochs: 2, seconds: 2, steps: 4}", rest="cluster: far\n", scaffold=False
        )
        for name in ("model", "data.jsonl"):
            (folder / name).rename(inputs / name)
            summary = (folder / "experiment_summary.md").read_text()
            (folder / "experiment_summary.md").write_text(summary.replace(f": {name}", f": {inputs / name}"))
        lab.cli("scaffold-experiment", folder)

        plan = lab.plan_id(folder)
        assert plan is not None
        with subprocess.Popen(lab.command("run-experiment", folder, "--yes", plan, "--detach")) as handing:
            lab.until(mark.exists, 60, "the second submission")
            daemon.stop()
            assert handing.wait(60) == 3
        assert set(lab.states(folder).values()) <= {"planned", "queued", "waiting"}
        daemon.start()
        # What became of the second submission was not known here; the yes holds for the rest, whatever it is.
        lab.cli("run-experiment", folder, "--yes", plan, "--detach")
        inputs.rename(tmp_path / "gone")

        daemon.stop()
        cluster.wait_idle(60)
        assert set(lab.states(folder).values()) <= {"queued", "waiting", "running", "done"}
        daemon.start()
        # After a silence the cluster is asked less often; a new monitor asks at once.
        done = lab.cli("wait", folder, "--timeout", "60", check=False, env={"XDG_STATE_HOME": str(tmp_path / "later")})
        assert done.returncode == 0, done.stdout + done.stderr

        assert (folder / "analysis" / "report.html").is_file()
        assert "inconclusive" in (folder / "experiment_summary.md").read_text()
        assert set(lab.starts(folder).values()) == {1}
        jobs = [job for token in tokens(folder) for job in cluster.accounting_rows(token)]
        assert len(jobs) == len(lab.states(folder)), jobs

        assert not list(folder.glob("*/epoch_*"))
        metrics = folder / "lr1e-3" / "metrics.jsonl"
        metrics.unlink()
        metrics.mkdir()
        (metrics / "file").write_text("in the way")
        refused = lab.cli("fetch", folder, "lr1e-3@1", check=False)
        assert (refused.returncode, "metrics.jsonl" in refused.stderr) == (1, True), refused.stderr
        assert [path.parent.parent.name for path in folder.glob("*/epoch_*/weights.json")] == ["lr1e-3"]


@pytest.mark.soak
def test_a_failed_run_is_tried_again_replaced_and_cancelled_on_a_cluster_over_ssh(
    cluster: DevCluster, tmp_path: Path
) -> None:
    with login(cluster, tmp_path / "sshd") as daemon:
        clusters = {"far": profile(daemon, tmp_path / "there")}
        (tmp_path / "tuneloop.yaml").write_text(dump_yaml({"clusters": clusters}))
        controls = "{epochs: 2, seconds: 0.4, steps: 4, fail: 7, fail_times: 1}"
        folder = lab.make_echo(tmp_path / "exp", controls=controls, rest="cluster: far\n")
        failed = lab.run(folder, "--follow", check=False)
        assert failed.returncode == 1
        assert "failing with 7, as asked" in failed.stdout
        lab.run(folder, "--follow", verb=("retry", "--failed"))
        assert set(lab.states(folder).values()) == {"done"}

        summary = folder / "experiment_summary.md"
        summary.write_text(summary.read_text().replace("steps: 4", "steps: 5").replace("seconds: 0.4", "seconds: 60"))
        lab.cli("scaffold-experiment", folder, "--replace", "lr1e-3", "--replace", "lr1e-4")
        states = lab.states(folder)
        assert states.pop("eval/control/base/cap") == "done"
        assert set(states.values()) == {"planned"}
        lab.run(folder, "--detach")
        lab.cli("cancel", folder)
        assert lab.cli("wait", folder, "--timeout", "60", check=False).returncode == 1
        assert set(lab.states(folder).values()) == {"cancelled", "done"}
