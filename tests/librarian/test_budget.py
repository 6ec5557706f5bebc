"""What the pack costs its reader stays within what was promised."""

from pathlib import Path

import pytest

from tuneloop.librarian import budget
from tuneloop.librarian.pack import Agent, AgentHead, Command, CommandHead, Pack, Skill, SkillHead, read_pack


@pytest.fixture(scope="module")
def pack() -> Pack:
    return read_pack()


def made(tmp_path: Path, *, body: str = "# Body\n") -> Pack:
    skill = Skill(tmp_path / "experiment" / "design-x", SkillHead(name="design-x", description="Plans."), body)
    said = {"description": "Does it.", "disable-model-invocation": False}
    hidden = {"description": "Types itself.", "disable-model-invocation": True}
    commands = [
        Command(tmp_path / f"{name}.md", CommandHead.model_validate(head), "x")
        for name, head in {"do-it": said, "typed": hidden}.items()
    ]
    agent = Agent(tmp_path / "reader.md", AgentHead(name="reader", description="Reads.", tools="Read, Grep"), "x")
    return Pack(tmp_path, (skill,), tuple(commands), (agent,))


def test_the_listing_leaves_a_third_free(pack: Pack) -> None:
    text = budget.listing(pack)
    assert len(text.splitlines()) >= 9
    assert len(text) <= budget.LISTING_NOW, "shorten a description: a third of 4,000 characters is for skills to come"


def test_the_listing_is_what_the_client_prints(tmp_path: Path) -> None:
    assert budget.listing(made(tmp_path)).splitlines() == [
        "- design-x: Plans.",
        "- do-it: Does it.",
        "- reader: Reads. (Tools: Read, Grep)",
    ]


def test_a_design_to_report_pass_is_read_in_one_go(pack: Pack) -> None:
    read = budget.on_the_way(pack)
    assert {skill.name for skill in read} >= {*budget.STAGES, "run-torchtune", "scaffold-inspect"}
    assert {skill.name for skill in pack.chosen(budget.STAGES)} >= budget.DETOURS, "no detour any more"
    assert 10_000 < budget.pass_size(pack) <= budget.PASS


def test_the_longer_ways_are_measured_too(pack: Pack) -> None:
    detours = [pack.skill(name) for name in budget.DETOURS]
    templates = [path.read_text() for path in pack.root.glob("skills/*/*/assets/*.yaml")]
    assert detours
    assert templates
    added = sum(map(budget.size, detours)) + sum(map(len, templates))
    assert budget.longest_pass_size(pack) == budget.pass_size(pack) + added
    bodies = [command.body for command in pack.commands if command.name in budget.COMMANDS]
    assert len(bodies) == len(budget.COMMANDS)
    assert budget.commands_pass_size(pack) == budget.pass_size(pack) + sum(map(len, bodies))


def test_what_lies_beside_a_skill_is_counted(tmp_path: Path) -> None:
    (skill,) = made(tmp_path, body="12345").skills
    beside = skill.folder / "references" / "more.md"
    beside.parent.mkdir(parents=True)
    beside.write_text("1234567")
    (skill.folder / "SKILL.md").write_text("the body counts once")
    assert budget.size(skill) == 12
