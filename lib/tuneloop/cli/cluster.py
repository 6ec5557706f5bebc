"""`cluster list`, `add`, `check`: the profiles of clusters, made from what a site tells and proved by a tiny job."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.cli.nouns import noun
from tuneloop.cli.output import DryRun, Json, note, say, say_checks, table, write_json

if TYPE_CHECKING:
    from tuneloop.documents.profile import Profile
    from tuneloop.loop.clusters import Proposal
    from tuneloop.loop.proof import Proof

Name = Annotated[str, typer.Argument(metavar="NAME", help="The profile's name, as `cluster:` of a design gives it.")]

group = noun("cluster", "Where jobs run: list the profiles of clusters, make one, and prove one by a tiny job.")


def register(app: typer.Typer) -> None:
    app.add_typer(group)


@group.command("list")
def list_profiles(as_json: Json = False) -> None:
    """List every profile: where its jobs run, its limits, and the files that it is read from.

    \b
    Example:
      tuneloop cluster list
    """
    from tuneloop.documents.config import load
    from tuneloop.loop import clusters

    configuration = load(Path.cwd())
    found = clusters.profiles(configuration)
    notes = {name: _misnamed(profile) for name, profile in found.items()}
    if as_json:
        rows = [
            {"name": name, "files": configuration.files_of(name), "notes": notes[name], **profile.model_dump()}
            for name, profile in found.items()
        ]
        write_json({"schema": "tuneloop.clusters/1", "clusters": rows}, whole=True)
        return
    cells = [
        [
            name,
            profile.executor,
            clusters.where(profile),
            clusters.limits(profile),
            _files(configuration.files_of(name)),
        ]
        for name, profile in found.items()
    ]
    say(table(["profile", "executor", "where", "limits", "from"], cells))
    for name, remarks in notes.items():
        for remark in remarks:
            note(f"note: profile {name}: {remark}")


def _misnamed(profile: "Profile") -> list[str]:
    from tuneloop.loop.clusters import misnamed

    return [f"`python` names an unknown worker `{name}`; {hint}" for name, hint in misnamed(profile).items()]


@group.command("add")
def add_profile(
    name: Name,
    user: Annotated[
        bool | None,
        typer.Option(
            "--user/--project",
            help="Your own configuration, or this project's `tuneloop.yaml`; without either the nearer one.",
        ),
    ] = None,
    ssh: Annotated[
        str | None, typer.Option("--ssh", metavar="HOST", help="The login node of a remote cluster, as ssh knows it.")
    ] = None,
    ssh_config: Annotated[
        str | None, typer.Option("--ssh-config", metavar="FILE", help="With --ssh: a file in place of ~/.ssh/config.")
    ] = None,
    scratch: Annotated[
        str | None, typer.Option("--scratch", metavar="DIR", help="With --ssh: the folder there for experiments.")
    ] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", metavar="NAME", help="The partition; the site's default without it.")
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", metavar="NAME", help="Who pays; your default account without it.")
    ] = None,
    python: Annotated[
        str | None, typer.Option("--python", metavar="PATH", help="The work environment's interpreter on the cluster.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make a profile of a SLURM cluster from what the site tells of itself, and write it.

    Asked are partitions with their nodes, GPUs and time limits, the size of arrays, your accounts and limits. One
    entry is added to the file; every other byte of it stays.

    \b
    Example:
      tuneloop cluster add dev --dry-run
    """
    from tuneloop.loop import clusters

    wish = clusters.Wish(name, ssh, ssh_config, scratch, partition, account, python)
    proposal = clusters.propose(Path.cwd(), wish, user=user)
    if not dry_run:
        clusters.write(proposal)
    if as_json:
        write_json(_proposal_data(proposal, written=not dry_run), whole=True)
        return
    _show_site(proposal)
    say(f"\n{'would write' if dry_run else 'wrote'} into {proposal.file}:\n\n{proposal.block}")
    say(f"next: tuneloop cluster check {name}" if not dry_run else "nothing was written")


@group.command("check")
def check_profile(
    name: Name,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait for the job at most.")] = 120.0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Prove a profile by one job of seconds: exit 0 all well, 1 a fault, 3 something is missing, 5 the job still waits.

    Tools and answers come first, then what sbatch would take, with all the GPUs of the profile, too. The job tells
    whether modules, files and interpreters are there on its node, which GPUs it sees, and whether the folder and its
    locks are shared. Nothing of it is left.

    \b
    Example:
      tuneloop cluster check dev
    """
    from tuneloop.documents.config import load
    from tuneloop.loop import proof
    from tuneloop.loop.shown import remember

    configuration = load(Path.cwd())
    if dry_run:
        found, script = proof.without_job(proof.scheduled(configuration, name)), proof.script(configuration, name)
        found.checks += proof.misnamed_checks(configuration.profile(name))
        remember(Path.cwd() / name, "cluster check", "a job of seconds" if found.ok else "no job, for there are faults")
    else:
        found, script = proof.prove(configuration, name, timeout), None
    if as_json:
        write_json(_proof_data(name, found, script), whole=True)
        raise typer.Exit(found.code)
    say(f"profile {name}")
    say_checks(found.checks)
    for remark in found.notes:
        note(f"note: {remark}")
    if script is not None and found.ok:
        say(f"\nthe job would be:\n\n{script}\nnothing was handed over")
    else:
        _show_verdict(name, found)
    raise typer.Exit(found.code)


def _show_verdict(name: str, found: "Proof") -> None:
    faults = sum(not item.ok for item in found.checks)
    if faults:
        say(f"\n{faults} fault{'' if faults == 1 else 's'}")
    elif found.waits is not None:
        say(f"\nthe job did not begin in time: {found.waits}\nnext: tuneloop cluster check {name} --timeout 3600")
    else:
        say("\nall is well")


def _proof_data(name: str, found: "Proof", script: str | None) -> dict[str, Any]:
    return {
        "schema": "tuneloop.cluster-check/1",
        "name": name,
        "ok": found.code == 0,
        "exit": found.code,
        "waits": found.waits,
        "notes": found.notes,
        "checks": [
            {"name": item.name, "ok": item.ok, "message": item.message, "hint": item.hint} for item in found.checks
        ],
        **({} if script is None else {"script": script}),
    }


def _files(files: list[str]) -> str:
    return ", ".join(files) or "built in"


def _show_site(proposal: "Proposal") -> None:
    from tuneloop.loop.clusters import time_limit

    site = proposal.site
    accounting = "with accounting" if site.accounting else "without accounting"
    say(f"found SLURM {site.version or 'of an unknown version'}, cluster {site.cluster or '?'}, {accounting}")
    rows = [
        [
            f"{item.name}{' (default)' if item.default else ''}",
            time_limit(item.minutes) if item.minutes else "none",
            *(str(value) for value in (kind.count, kind.cpus, f"{kind.memory_mb / 1000:.0f} GB")),
            f"{kind.gpus} {kind.gpu_type or ''}".strip() if kind.gpus else "none",
        ]
        for item in site.partitions
        for kind in item.nodes
    ]
    say(table(["partition", "time limit", "nodes", "CPUs", "memory", "GPUs"], rows))
    for gap in site.unknown:
        note(f"not found out: {gap}")
    for remark in proposal.notes:
        note(f"note: {remark}")


def _proposal_data(proposal: "Proposal", *, written: bool) -> dict[str, Any]:
    from tuneloop.experiment.work import to_json

    return {
        "schema": "tuneloop.cluster-add/1",
        "name": proposal.name,
        "file": str(proposal.file),
        "written": written,
        "profile": proposal.value,
        "found": {key: value for key, value in to_json(proposal.site).items() if key != "unknown"},
        "unknown": list(proposal.site.unknown),
        "notes": list(proposal.notes),
    }
