"""`cluster list`, `add`, `check`: the profiles of clusters, made from what a site tells and proved by a tiny job."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.cli.output import DryRun, Json, note, say, table, write_json

if TYPE_CHECKING:
    from tuneloop.loop.clusters import Proposal

Name = Annotated[str, typer.Argument(metavar="NAME", help="The profile's name, as `cluster:` of a design gives it.")]

group = typer.Typer(
    name="cluster",
    help="Where jobs run: list the profiles of clusters, make one, and prove one by a tiny job.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    app.add_typer(group)


@group.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        say(context.get_help())
        raise typer.Exit(2)


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
    if as_json:
        rows = [
            {"name": name, "files": configuration.files_of(name), **profile.model_dump()}
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

    wish = clusters.Wish(name, ssh, scratch, partition, account, python)
    proposal = clusters.propose(Path.cwd(), wish, user=user)
    if not dry_run:
        clusters.write(proposal)
    if as_json:
        write_json(_proposal_data(proposal, written=not dry_run), whole=True)
        return
    _show_site(proposal)
    say(f"\n{'would write' if dry_run else 'wrote'} into {proposal.file}:\n\n{proposal.block}")
    say(f"next: tuneloop cluster check {name}" if not dry_run else "nothing was written")


def _files(files: list[str]) -> str:
    return ", ".join(files) or "built in"


def _show_site(proposal: "Proposal") -> None:
    site = proposal.site
    accounting = "with accounting" if site.accounting else "without accounting"
    say(f"found SLURM {site.version or 'of an unknown version'}, cluster {site.cluster or '?'}, {accounting}")
    rows = [
        [
            f"{item.name}{' (default)' if item.default else ''}",
            f"{item.minutes / 60:g} h" if item.minutes else "none",
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
