"""fetch where nothing lies elsewhere; tests/slurm/test_remote.py fetches from a cluster."""

from pathlib import Path

import lab


def test_what_was_made_here_needs_no_fetching_and_a_name_of_it_is_told_so(tmp_path: Path) -> None:
    folder = lab.make_echo(tmp_path / "exp", variables="{lr: [1e-3]}")
    assert "is not trained and verified yet" in lab.cli("fetch", folder, "lr1e-3@0", check=False).stderr
    lab.run(folder)
    assert lab.as_json("fetch", folder) == {"schema": "tuneloop.fetch/1", "fetched": True, "checkpoints": []}
    named = lab.cli("fetch", folder, "lr1e-3@0", "control", "lr1e-3@9", "lr2@0", check=False)
    assert named.returncode == 2
    assert named.stderr.count("lies on a cluster that is reached over SSH") == 2
    assert "`lr1e-3` has no epoch 9" in named.stderr
    assert "no run `lr2`" in named.stderr
