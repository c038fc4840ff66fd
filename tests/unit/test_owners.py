"""An owner's rule: which repositories it includes, what it makes of each, and which calls it costs to find out."""

import json

import pytest

from handler.config.owners import OwnerRule, parse_owner_rule
from handler.errors import ConfigurationInvalid, ParametersUnavailable, RepositoryUnknown
from handler.model import PublishRule, Repository
from testing.parameters import ParameterStore
from tests.unit.test_parameters import REPOSITORY_CACHE, World, service_error


@pytest.fixture
def world(parameter_store: ParameterStore) -> World:
    """A stack without parameters."""
    return World(parameter_store)


def rule(**fields: object) -> OwnerRule:
    """Return octo's rule of these fields."""
    return parse_owner_rule("octo", json.dumps(fields))


def problem(**fields: object) -> str:
    """Return what is wrong with octo's rule of these fields."""
    with pytest.raises(ConfigurationInvalid) as raised:
        rule(**fields)
    return str(raised.value)


def test_an_empty_rule_includes_every_repository_of_the_owner_and_none_of_others() -> None:
    """Each of them as its own `{}` would describe it."""
    found = rule()
    assert all(found.includes(name) for name in ("octo/site", "octo/.github", "octo/UPPER"))
    assert not any(found.includes(name) for name in ("octocat/site", "Octo/site"))
    assert found.repository("octo/site") == Repository(full_name="octo/site", url="https://github.com/octo/site.git")


@pytest.mark.parametrize(
    ("include", "exclude", "names", "others"),
    [
        (["site-*"], [], ["site-a", "site-"], ["site", "my-site-a"]),
        (["*"], ["*-archive", "secret"], ["site", "secrets"], ["site-archive", "Site-Archive", "SECRET"]),
        (["a*z", "b"], ["a*x*z"], ["az", "abcz", "b", "B"], ["axz", "abxcz", "bb"]),
    ],
)
def test_patterns_choose_among_names(
    include: list[str], exclude: list[str], names: list[str], others: list[str]
) -> None:
    """`*` stands for any characters; letter case does not count, since no forge tells such names apart."""
    found = rule(include=include, exclude=exclude)
    assert [name for name in (*names, *others) if found.includes(f"octo/{name}")] == names


def test_placeholders_stand_for_the_repositorys_own_names() -> None:
    """In the url and in each path; the rest of a rule is as in a repository's own parameter."""
    publish = [
        {"ref": "refs/heads/main", "path": "sites/{owner}-{name}"},
        {"ref": "refs/heads/p/*", "path": "p/{name}/*"},
    ]
    found = rule(url="https://git.example.com/{owner}/{name}.git", publish=publish, depth=5).repository("octo/site")
    assert (found.url, found.depth) == ("https://git.example.com/octo/site.git", 5)
    assert found.publish == (
        PublishRule(ref="refs/heads/main", path="sites/octo-site"),
        PublishRule(ref="refs/heads/p/*", path="p/site/*"),
    )


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"include": []}, "include is not a list of 1 to 100 patterns"),
        ({"include": "site"}, "include is not a list"),
        ({"exclude": ["a/b"]}, "exclude holds what is no pattern"),
        ({"exclude": [3]}, "exclude is not text"),
        ({"url": "https://git.example.com/octo/site.git"}, "url has no {name}"),
        ({"url": "https://git.example.com/{nmae}/{name}.git"}, "url has a brace that belongs neither"),
        ({"url": "ftp://git.example.com/{name}.git"}, "url is not https"),
        ({"publish": [{"path": "site"}]}, "publish[0].path has no {name}"),
        ({"publish": [{"path": "{name}/}"}]}, "publish[0].path has a brace"),
        ({"depht": 1}, "'depht' is not a known field"),
    ],
)
def test_a_wrong_rule_names_its_problems(fields: dict[str, object], found: str) -> None:
    """By the field, and the owner."""
    sentence = problem(**fields)
    assert sentence.startswith("octo: ")
    assert found in sentence


def test_all_problems_of_a_rule_are_named_at_once() -> None:
    """Those of its own fields and those that a repository's parameter can have."""
    sentence = problem(include=[], url="x", depth=-1)
    assert all(name in sentence for name in ("include", "url has no {name}", "depth"))


def test_a_repositorys_own_parameter_is_read_alone_and_replaces_the_rule_whole(world: World) -> None:
    """It costs the one call that it always cost; and none while it is cached."""
    world.put_repository('{"depth": 7, "grace_seconds": 1}', "octo")
    world.put_repository('{"keep_releases": 2}')
    found = world.parameters.repository("octo/site")
    assert (found.keep_releases, found.depth, found.grace_seconds) == (2, 1, 300)
    assert world.parameters.repository("octo/site") == found
    assert world.store.calls == [("GetParameter", f"{world.prefix}/repositories/octo/site")]
    world.put_repository('{"depht": 1}')
    world.clock.now += REPOSITORY_CACHE
    with pytest.raises(ConfigurationInvalid, match="depht"):
        world.parameters.repository("octo/site")


def test_the_rule_is_read_once_for_all_of_the_owners_repositories(world: World) -> None:
    """The first costs two calls, each further one its own, a warm one none."""
    world.put_repository('{"depth": 7, "exclude": ["secret*"]}', "octo")
    for name, calls in (("octo/one", 2), ("octo/two", 3), ("octo/two", 3), ("octo/Three", 4)):
        assert world.parameters.repository(name).depth == 7
        assert world.store.counts() == {"GetParameter": calls}
        assert not world.parameters.has_parameter(name)
    with pytest.raises(RepositoryUnknown):
        world.parameters.repository("octo/secret1")
    assert world.store.counts() == {"GetParameter": 5}


def test_a_change_is_seen_after_the_caches_time(world: World) -> None:
    """A repository that gets a parameter of its own, or is excluded, or whose rule is deleted or wrong."""
    world.put_repository("{}", "octo")
    assert world.parameters.repository("octo/site").depth == 1
    world.put_repository('{"depth": 2}')
    world.clock.now += REPOSITORY_CACHE
    assert world.parameters.repository("octo/site").depth == 2
    world.store.delete(f"{world.prefix}/repositories/octo/site")
    world.put_repository('{"depth": 3}', "octo")
    world.clock.now += REPOSITORY_CACHE
    assert world.parameters.repository("octo/site").depth == 3
    world.put_repository('{"exclude": ["site"]}', "octo")
    world.clock.now += REPOSITORY_CACHE
    with pytest.raises(RepositoryUnknown):
        world.parameters.repository("octo/site")
    world.put_repository('{"depht": 3}', "octo")
    world.clock.now += REPOSITORY_CACHE
    with pytest.raises(ConfigurationInvalid, match=r"octo: .*depht"):
        world.parameters.repository("octo/site")


def test_while_parameter_store_is_silent_a_rule_is_used_as_a_parameter_is(world: World) -> None:
    """But no rule for a repository that nobody has seen to have no parameter: it may have one."""
    world.put_repository('{"depth": 7}', "octo")
    world.parameters.repository("octo/site")
    world.client.failures["get_parameter"] = service_error("ThrottlingException")
    world.clock.now += REPOSITORY_CACHE + 1
    assert world.parameters.repository("octo/site").depth == 7
    with pytest.raises(ParametersUnavailable):
        world.parameters.repository("octo/other")
