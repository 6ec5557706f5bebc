"""The ways in which a project comes to the pack: it is the pack's own checkout, has links, or has the plugin."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from claude import Claude
from lab import cli

PLUGIN = "tuneloop"


@dataclass(frozen=True)
class Way:
    """A project that has the pack, the client's options for it, and the prefix that names get."""

    project: Path
    options: tuple[str, ...] = ()
    prefix: str = ""


def repository(claude: Claude, checkout: Path, project: Path) -> Way:
    """A fresh clone, as it is."""
    return Way(checkout)


def linked(claude: Claude, checkout: Path, project: Path) -> Way:
    """Another project, after `tuneloop skills link`."""
    cli("skills", "link", "--project", project)
    return Way(project)


def plugin_folder(claude: Claude, checkout: Path, project: Path) -> Way:
    """The checkout as a plugin, for this session."""
    return Way(project, ("--plugin-dir", str(checkout)), f"{PLUGIN}:")


def plugin_installed(claude: Claude, checkout: Path, project: Path) -> Way:
    """The plugin installed from the checkout as a marketplace, into the client's own folder."""
    claude.command("plugin", "marketplace", "add", checkout, cwd=project)
    claude.command("plugin", "install", f"{PLUGIN}@{PLUGIN}", cwd=project)
    return Way(project, (), f"{PLUGIN}:")


WAYS: dict[str, Callable[[Claude, Path, Path], Way]] = {
    item.__name__: item for item in (repository, linked, plugin_folder, plugin_installed)
}
