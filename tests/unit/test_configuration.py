"""A repository's parameter."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.config.names import path_problem, ref_problem
from handler.config.repository import parse_repository
from handler.errors import ConfigurationInvalid
from handler.model import ExternalLinks, PublishRule, Repository


def parse(fields: object, full_name: str = "octo/site") -> Repository:
    """Parse `fields` as the parameter's JSON."""
    return parse_repository(full_name, json.dumps(fields))


def problems(fields: object) -> str:
    """Return the message with which `fields` are refused."""
    with pytest.raises(ConfigurationInvalid) as caught:
        parse(fields)
    return str(caught.value)


def test_the_empty_object_is_complete() -> None:
    """Adding a repository is one parameter with `{}`."""
    assert parse({}) == Repository(
        full_name="octo/site",
        url="https://github.com/octo/site.git",
        publish=(PublishRule(ref=None, path=None),),
        keep_releases=3,
        grace_seconds=300,
        depth=1,
        credentials=None,
        external_links=ExternalLinks.REFUSE,
        commit_status=False,
        own_secret=False,
        trust_payload=False,
    )


def test_every_field_is_taken() -> None:
    """What stands in the parameter is what comes out."""
    assert parse(
        {
            "url": "https://git.example.com:8443/octo/site",
            "publish": [
                {"path": "live"},
                {"ref": "refs/heads/next", "path": "try/next", "mode": "releases"},
                {"ref": "refs/heads/preview/*", "path": "previews/*"},
                {"ref": "refs/tags/v1"},
                {"ref": "refs/tags/r*", "path": "newest", "latest": True, "prereleases": True},
            ],
            "keep_releases": 50,
            "grace_seconds": 0,
            "depth": 0,
            "credentials": "/git2efs/prod/tokens/octo",
            "allow_external_links": True,
            "commit_status": True,
            "own_secret": True,
            "trust_payload": True,
        }
    ) == Repository(
        full_name="octo/site",
        url="https://git.example.com:8443/octo/site",
        publish=(
            PublishRule(ref=None, path="live"),
            PublishRule(ref="refs/heads/next", path="try/next"),
            PublishRule(ref="refs/heads/preview/*", path="previews/*"),
            PublishRule(ref="refs/tags/v1", path=None),
            PublishRule(ref="refs/tags/r*", path="newest", is_latest=True, prereleases=True),
        ),
        keep_releases=50,
        grace_seconds=0,
        depth=0,
        credentials="/git2efs/prod/tokens/octo",
        external_links=ExternalLinks.KEEP,
        commit_status=True,
        own_secret=True,
        trust_payload=True,
    )


def test_every_problem_is_reported_at_once() -> None:
    """One round of mending, not one a mistake."""
    message = problems(
        {
            "url": "ftp://x/y",
            "branch": "main",
            "keep_releases": 0,
            "grace_seconds": "300",
            "depth": -1,
            "credentials": "token",
            "allow_external_links": 1,
            "publish": [{"ref": "main", "path": "../x", "mode": "copy", "to": "x"}, 7],
        }
    )
    assert message.startswith("octo/site: ")
    for part in (
        "'branch' is not a known field",
        "url is not https",
        "keep_releases is not a whole number from 1 to 50",
        "grace_seconds",
        "depth",
        "credentials",
        "allow_external_links",
        "publish[0].ref",
        "publish[0].path",
        "publish[0].mode",
        "publish[0].'to' is not a known field",
        "publish[1] is not an object",
    ):
        assert part in message
    assert message.count(";") == 11


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("null", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"depth": 1, "depth": 2}', "same key twice"),
        ('{"publish": [{"ref": "refs/heads/a", "ref": "refs/heads/b"}]}', "same key twice"),
        ('{"depth": NaN}', "NaN"),
        ("[" * 100_000, "nested too deeply"),
        ('{"depth": ' + "1" * 5000 + "}", "too long"),
    ],
)
def test_what_is_no_strict_json_object_is_refused(text: str, problem: str) -> None:
    """A key that stands twice means two things to two readers."""
    with pytest.raises(ConfigurationInvalid, match=problem):
        parse_repository("octo/site", text)


@pytest.mark.parametrize("name", ["keep_releases", "grace_seconds", "depth"])
@pytest.mark.parametrize("value", [-1, 2**31, 1.0, True, "1", None, [1]])
def test_counts_are_whole_numbers_within_bounds(name: str, value: object) -> None:
    """Neither text nor true passes for a number."""
    assert name in problems({name: value})


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("keep_releases", 1, 50),
        ("grace_seconds", 0, 604_800),
        ("depth", 0, 2**31 - 1),
        ("max_tree_bytes", 1, 2**50),
    ],
)
def test_bounds_are_inclusive(name: str, low: int, high: int) -> None:
    """The smallest and the largest pass, their neighbours do not."""
    assert getattr(parse({name: low}), name) == low
    assert getattr(parse({name: high}), name) == high
    assert name in problems({name: low - 1})
    assert name in problems({name: high + 1})


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/octo/site.git",
        "https://ghe.example.com:8443/octo/site",
        "http://localhost:8000/site.git",
        "http://stand-in.localhost:8000/site.git",
        "http://127.0.0.1/site.git",
        "http://127.8.9.1:1/site.git",
        "http://[::1]:8000/site.git",
        "https://[2001:db8::1]/x",
        "HTTPS://github.com/octo/site.git",
    ],
)
def test_urls_that_are_taken(url: str) -> None:
    """https anywhere, plain http on this machine alone."""
    assert parse({"url": url}).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "github.com/octo/site",
        "git@github.com:octo/site.git",
        "ssh://git@github.com/octo/site.git",
        "git://github.com/octo/site.git",
        "file:///etc",
        "http://github.com/octo/site.git",
        "http://localhost.example.com/x",
        "http://notlocalhost/x",
        "http://127.0.0.1.example.com/x",
        "http://2130706433/x",
        "http://10.0.0.1/x",
        "https://hunter2@github.com/octo/site.git",
        "https://x:hunter2@github.com/octo/site.git",
        "https://@github.com/octo/site.git",
        "https://github.com/octo/site.git?token=hunter2",
        "https://github.com/octo/site.git?",
        "https://github.com/octo/site.git#hunter2",
        "https://github.com/octo\\site",
        "https://github.com/octo/ site",
        "https://github.com/octo/site\n",
        "https://git\thub.com/octo/site",
        "https://github.com/octo/sité",
        "https://github.com\\@evil.example/x",
        "https:///octo/site",
        "https://github.com",
        "https://github.com/",
        "https://github.com:port/x",
        "https://github.com:99999/x",
        "https://github.com:/x",
        "https://github.com:0/x",
        "https://[::1/x",
        "https://[nonsense]/x",
        "https://git%68ub.com/x",
        "https://.example.com/x",
        "https://github.com/" + "x" * 2048,
        None,
        7,
    ],
)
def test_urls_that_are_refused_without_being_shown(url: object) -> None:
    """A token written into the url does not come out in the log."""
    message = problems({"url": url})
    assert "url " in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "name", ["token", "git2efs/token", "/", "/a//b", "/a/", "/a b", "/a\n", "ghp_hunter2", "/" + "x" * 1011, None, 7]
)
def test_credentials_is_an_absolute_parameter_name(name: object) -> None:
    """The likely mistake is the token itself, so the value is not shown."""
    message = problems({"credentials": name})
    assert "credentials" in message
    assert "hunter2" not in message


@pytest.mark.parametrize("publish", [[], {}, "refs/heads/main", None, [{}] * 101])
def test_publish_is_a_list_of_1_to_100(publish: object) -> None:
    """An empty list would publish nothing and say nothing."""
    assert "publish is not a list of 1 to 100 objects" in problems({"publish": publish})


def test_a_hundred_rules_are_taken() -> None:
    """The bound is inclusive."""
    rules = [{"ref": f"refs/heads/b{number}"} for number in range(100)]
    assert len(parse({"publish": rules}).publish) == 100


@pytest.mark.parametrize(
    "ref",
    [
        "main",
        "refs/heads/",
        "refs/heads",
        "refs/pull/1/head",
        "refs/*",
        "*",
        "refs/heads/a..b",
        "refs/heads/a b",
        "refs/heads/*/x",
        "refs/heads/*a",
        "refs/heads/.*",
        "refs/heads/*/*",
        "refs/heads/**",
        "refs/heads/a//*",
        "refs/heads/.x/*",
        "refs/heads/x.lock",
        "refs/heads/\ud800",
        None,
        7,
        ["refs/heads/main"],
    ],
)
def test_refs_that_are_refused(ref: object) -> None:
    """A full name of a branch or a tag, or one with `*` as its last character."""
    assert "publish[0].ref" in problems({"publish": [{"ref": ref, "path": "x"}]})


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        ("refs/heads/main", "*"),
        ("refs/heads/main", "x/*"),
        (None, "x/*"),
        ("refs/heads/p/*", "x"),
        ("refs/heads/p/*", "*"),
        ("refs/heads/p/*", "x/y**"),
        ("refs/heads/p/*", "x/.*"),
        ("refs/heads/p*", "x"),
        ("refs/heads/p/*", "*/x"),
        ("refs/heads/p/*", "*/*"),
        ("refs/heads/p/*", "mirror.git/*"),
        ("refs/heads/main", "/site"),
        ("refs/heads/main", "a/../b"),
        ("refs/heads/main", "a/.b"),
        ("refs/heads/main", "o/n/mirror.git"),
        ("refs/heads/main", ""),
        ("refs/heads/main", 7),
        ("refs/heads/main", None),
    ],
)
def test_paths_that_are_refused(ref: str | None, path: object) -> None:
    """Safe parts, and `*` exactly where the ref has one."""
    rule = {"path": path} if ref is None else {"ref": ref, "path": path}
    assert "publish[0].path" in problems({"publish": [rule]})


@pytest.mark.parametrize(
    "rules",
    [
        [{}, {}],
        [{"ref": "refs/heads/a"}, {"ref": "refs/heads/a"}],
        [{"ref": "refs/heads/a", "path": "x"}, {"ref": "refs/heads/a", "path": "x"}],
        [{"ref": "refs/heads/a", "path": "x"}, {"ref": "refs/heads/b", "path": "x"}],
        [{"ref": "refs/heads/a", "path": "x"}, {"ref": "refs/heads/b", "path": "x/y"}],
        [{"ref": "refs/heads/a", "path": "x/y/z"}, {"path": "x"}],
        [{"ref": "refs/heads/a"}, {"ref": "refs/heads/b", "path": "octo/site/a"}],
        [{}, {"ref": "refs/heads/b", "path": "octo/site"}],
        [{"ref": "refs/heads/p/*"}, {"ref": "refs/heads/p/a"}],
        [{"ref": "refs/heads/p/*", "path": "x/*"}, {"ref": "refs/heads/a", "path": "x/a/b"}],
        [{"ref": "refs/heads/p/*", "path": "x/*"}, {"ref": "refs/tags/*", "path": "x/*"}],
        [{"ref": "refs/heads/p*", "path": "x/p*"}, {"ref": "refs/tags/*", "path": "x/*"}],
        [{"ref": "refs/heads/p*", "path": "x/p*"}, {"ref": "refs/heads/a", "path": "x/pa"}],
        [{"ref": "refs/heads/p*", "path": "x/p*"}, {"ref": "refs/heads/a", "path": "x"}],
        [{"ref": "refs/heads/p*"}, {"ref": "refs/heads/pa"}],
        [{"ref": "refs/tags/v*", "latest": True}, {"ref": "refs/tags/w*", "latest": True}],
        [{"ref": "refs/heads/*"}, {"ref": "refs/tags/v*", "latest": True}],
        [{"ref": "refs/heads/latest"}, {"ref": "refs/tags/v*", "latest": True}],
        [{"ref": "refs/tags/v*", "path": "x", "latest": True}, {"ref": "refs/tags/v*", "path": "x/*"}],
    ],
)
def test_rules_that_publish_into_each_other_are_refused(rules: list[dict[str, str]]) -> None:
    """Two refs in one directory would take turns at destroying each other."""
    assert "publish[1] goes to the path of publish[0]" in problems({"publish": rules})


def test_neighbours_are_no_overlap() -> None:
    """Whole parts are compared, not text; and one ref may go to two places."""
    rules = [
        {},
        {"ref": "refs/heads/a", "path": "x/y"},
        {"ref": "refs/heads/b", "path": "x/yz"},
        {"ref": "refs/heads/a", "path": "z"},
        {"ref": "refs/heads/p/*"},
        {"ref": "refs/heads/p/*", "path": "p/*"},
        {"ref": "refs/tags/v*"},
        {"ref": "refs/tags/v*", "latest": True},
        {"ref": "refs/tags/w*", "path": "x/w-*"},
    ]
    assert len(parse({"publish": rules}).publish) == 9


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"ref": "refs/heads/a", "path": "octo"}, "publish[0].path takes the repository's own directory"),
        ({"ref": "refs/heads/*", "path": "octo/*"}, "publish[0].path takes the repository's own directory"),
        ({"ref": "refs/heads/*", "path": "octo/s*"}, "publish[0].path takes the repository's own directory"),
        ({"ref": "refs/heads/*", "path": "octo/other/mirror.git/*"}, "mirror.git"),
        ({"ref": "refs/heads/a", "path": "octo/other/mirror.git/x"}, "mirror.git"),
    ],
)
def test_no_target_takes_a_repositorys_own_directory(rule: dict[str, str], problem: str) -> None:
    """Where its mirror is: neither this one's nor another's."""
    assert problem in problems({"publish": [rule]})


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"latest": True}, "publish[0].latest needs a ref"),
        ({"ref": "refs/tags/v1", "latest": True}, "publish[0].latest needs a ref"),
        ({"ref": "refs/heads/v*", "latest": True}, "publish[0].latest needs a ref"),
        ({"ref": "refs/tags/v*", "latest": "yes"}, "publish[0].latest is neither true nor false"),
        ({"ref": "refs/tags/v*", "latest": True, "path": "site/*"}, "publish[0].path has a *"),
        ({"ref": "refs/tags/v*", "latest": True, "prereleases": 1}, "publish[0].prereleases is neither"),
        ({"ref": "refs/tags/v*", "prereleases": True}, "publish[0].prereleases means nothing without latest"),
    ],
)
def test_latest_is_for_a_pattern_of_tags_and_one_path(rule: dict[str, object], problem: str) -> None:
    """Anything else would be taken for something that it is not."""
    assert problem in problems({"publish": [rule]})


def test_a_repository_with_a_name_of_ours_needs_a_path_for_its_latest_tag() -> None:
    """A leading dot, though, is a name as any other."""
    rule = {"ref": "refs/tags/v*", "latest": True}
    with pytest.raises(ConfigurationInvalid, match=r"octo/mirror\.git/latest"):
        parse({"publish": [rule]}, "octo/mirror.git")
    assert parse({"publish": [rule | {"path": "x"}]}, "octo/mirror.git").publish[0].path == "x"
    assert parse({"publish": [rule]}, "octo/.github").publish[0].path is None


def test_a_commits_status_needs_credentials() -> None:
    """Nobody writes one without a token."""
    assert problems({"commit_status": True}) == (
        "octo/site: commit_status needs credentials: GitHub lets nobody else write a status"
    )
    assert "own_secret" in problems({"own_secret": "true"})


def test_a_hundred_rules_with_one_path_make_a_short_message() -> None:
    """A log line has an end."""
    assert len(problems({"publish": [{"path": "x"}] * 100})) < 10_000


@pytest.mark.parametrize("name", ["", "octo", "../site", "a/b/c", "octo/\ud800"])
def test_a_name_that_is_no_repository_is_refused(name: str) -> None:
    """The name becomes part of the url and of paths."""
    with pytest.raises(ConfigurationInvalid, match="<owner>/<name>"):
        parse({}, full_name=name)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
urls = st.text(alphabet="htps:/@[]?#%\\.0a1\t\u2100", max_size=12).map(lambda rest: f"https://{rest}")
refs = st.text(alphabet="ab/.*", max_size=6).map(lambda rest: f"refs/heads/{rest}")
paths = st.text(alphabet="ab/.*", max_size=6)
rules = st.fixed_dictionaries(
    {},
    optional={
        "ref": refs | refs.map(lambda ref: ref.replace("heads", "tags")) | json_values,
        "path": paths | json_values,
        "latest": st.booleans() | json_values,
        "prereleases": st.booleans(),
    },
)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "url": urls | json_values,
        "publish": st.lists(rules, max_size=3) | json_values,
        "depth": json_values,
        "credentials": json_values,
    },
)


@given(text=st.text() | parameters.map(json.dumps) | json_values.map(json.dumps), full_name=st.just("o/n") | st.text())
def test_any_text_is_a_repository_or_our_error(text: str, full_name: str) -> None:
    """Nothing else is raised, and what is accepted holds the promises that others build on."""
    try:
        repository = parse_repository(full_name, text)
    except ConfigurationInvalid:
        return
    assert repository.url.lower().startswith(("https://", "http://"))
    assert "@" not in repository.url.split("/")[2]
    for rule in repository.publish:
        _assert_safe(rule)


def _assert_safe(rule: PublishRule) -> None:
    fixed: Any = (rule.ref or "refs/heads/x").replace("*", "x"), (rule.path or "x").replace("*", "x")
    assert ref_problem(fixed[0]) is None
    assert path_problem(fixed[1]) is None
