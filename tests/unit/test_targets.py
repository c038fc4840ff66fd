"""Which targets publish a ref."""

import pytest

from handler.config.targets import (
    needs_default_branch,
    ref_prefixes,
    refuse_common_secret,
    refuse_other_repository,
    refuse_too_many,
    targets_in,
    targets_of,
)
from handler.errors import ConfigurationInvalid, RepositoryUnknown, SignatureInvalid, TooManyTargets
from handler.model import PublishRule, Repository, Target

MAIN = "refs/heads/main"


def repository(*rules: PublishRule) -> Repository:
    """Return a repository with these rules, or the default one."""
    return Repository(full_name="octo/site", url="https://github.com/octo/site.git", publish=rules or (PublishRule(),))


def paths(ref: str, *rules: PublishRule, default: str | None = MAIN) -> list[str]:
    """Return where `ref` is published."""
    targets = targets_of(repository(*rules), ref, default)
    assert all(target.ref == ref for target in targets)
    return [target.path for target in targets]


def test_the_default_branch_goes_below_the_repositorys_name() -> None:
    """`<owner>/<name>/<branch>`, with no configuration at all."""
    assert targets_of(repository(), MAIN, MAIN) == (Target(ref=MAIN, path="octo/site/main"),)


@pytest.mark.parametrize("ref", ["refs/heads/other", "refs/tags/main", "refs/heads/main/x", "refs/heads/mai"])
def test_a_ref_that_no_rule_names_has_no_target(ref: str) -> None:
    """It is ignored, not an error."""
    assert paths(ref) == []
    assert paths(ref, PublishRule(ref=MAIN)) == []


def test_an_unknown_default_branch_matches_nothing() -> None:
    """Rather nothing than a guess; rules with a ref need no default branch."""
    assert paths(MAIN, default=None) == []
    assert paths(MAIN, PublishRule(ref=MAIN, path="live"), PublishRule(), default=None) == ["live"]


def test_a_default_branch_with_slashes_goes_deeper() -> None:
    """A branch's name may have parts."""
    assert paths("refs/heads/team/main", default="refs/heads/team/main") == ["octo/site/team/main"]


def test_a_rules_path_wins() -> None:
    """Explicit before default."""
    assert paths(MAIN, PublishRule(ref=None, path="live")) == ["live"]
    assert paths(MAIN, PublishRule(ref=MAIN, path="sites/live")) == ["sites/live"]


def test_a_tag_goes_below_tags() -> None:
    """A tag and a branch of one name keep apart."""
    assert paths("refs/tags/v1", PublishRule(ref="refs/tags/v1")) == ["octo/site/tags/v1"]
    assert paths("refs/tags/v1", PublishRule(ref="refs/tags/*")) == ["octo/site/tags/v1"]


def test_a_pattern_stands_for_the_same_on_both_sides() -> None:
    """All that follows the fixed part, slashes too, as in git's refspecs."""
    rules = PublishRule(ref="refs/heads/preview/*", path="previews/*"), PublishRule(ref="refs/heads/preview/*")
    assert paths("refs/heads/preview/x", *rules) == ["previews/x", "octo/site/preview/x"]
    assert paths("refs/heads/preview/team/x", *rules) == ["previews/team/x", "octo/site/preview/team/x"]


@pytest.mark.parametrize("ref", ["refs/heads/preview", "refs/heads/previews/x", "refs/heads/x/preview/y"])
def test_a_pattern_matches_whole_parts_from_the_start(ref: str) -> None:
    """Not the bare prefix, not a longer word, not further in."""
    assert paths(ref, PublishRule(ref="refs/heads/preview/*", path="p/*")) == []


def test_one_ref_can_have_many_targets_in_the_order_of_the_rules() -> None:
    """Each rule speaks for itself."""
    rules = (
        PublishRule(ref=MAIN, path="b"),
        PublishRule(ref="refs/heads/*", path="all/*"),
        PublishRule(ref=None, path="a"),
    )
    assert paths(MAIN, *rules) == ["b", "all/main", "a"]


def test_two_rules_for_one_place_make_one_target() -> None:
    """The default branch may be one that another rule names."""
    assert paths(MAIN, PublishRule(), PublishRule(ref=MAIN)) == ["octo/site/main"]


@pytest.mark.parametrize("branch", ["mirror.git", "x/mirror.git/y", "x" * 256])
def test_a_branch_whose_name_makes_no_path_is_a_problem_of_the_configuration(branch: str) -> None:
    """The message names ref and path, and an explicit path is the way out."""
    ref = f"refs/heads/{branch}"
    with pytest.raises(ConfigurationInvalid) as caught:
        paths(ref, PublishRule(ref="refs/heads/*"))
    assert ref in str(caught.value)
    assert f"octo/site/{branch}" in str(caught.value)
    assert paths(ref, PublishRule(ref=ref, path="elsewhere")) == ["elsewhere"]


@pytest.mark.parametrize("name", [".github", ".dotfiles", "x.github"])
def test_a_repository_with_a_dot_name_needs_no_path(name: str) -> None:
    """GitHub has such names, and `{}` is enough for any repository."""
    dotted = Repository(full_name=f"octo/{name}", url=f"https://github.com/octo/{name}.git")
    assert [target.path for target in targets_of(dotted, MAIN, MAIN)] == [f"octo/{name}/main"]


def test_the_default_branch_is_asked_for_only_where_a_rule_needs_it() -> None:
    """Asking costs a request."""
    assert needs_default_branch(repository())
    assert needs_default_branch(repository(PublishRule(ref=MAIN), PublishRule(ref=None, path="x")))
    assert not needs_default_branch(repository(PublishRule(ref=MAIN), PublishRule(ref="refs/heads/*", path="x/*")))


@pytest.mark.parametrize(
    ("ref", "path"),
    [("refs/tags/v1.2", "site/1.2"), ("refs/tags/v1/x", "site/1/x"), ("refs/tags/v", None), ("refs/tags/w1", None)],
)
def test_a_pattern_may_end_within_a_part(ref: str, path: str | None) -> None:
    """`*` stands for one character or more, on both sides."""
    assert paths(ref, PublishRule(ref="refs/tags/v*", path="site/*")) == ([path] if path else [])


def test_a_name_that_leaves_no_path_after_a_pattern_is_a_problem_of_that_push() -> None:
    """`refs/tags/v/x` would go to `site//x`."""
    with pytest.raises(ConfigurationInvalid, match="empty part"):
        paths("refs/tags/v/x", PublishRule(ref="refs/tags/v*", path="site/*"))


LATEST = PublishRule(ref="refs/tags/v*", path="site", is_latest=True)


def test_a_tag_that_could_be_the_latest_concerns_the_latests_target() -> None:
    """Whatever tag was pushed: which is the newest, all of the remote's tags say."""
    expected = (Target(ref="refs/tags/v*", path="site", is_latest=True),)
    assert targets_of(repository(LATEST), "refs/tags/v1.0", None) == expected
    assert targets_of(repository(LATEST), "refs/tags/v0.1", None) == expected
    for ref in ("refs/tags/v1.0-rc", "refs/tags/vnext", "refs/tags/w1", "refs/heads/v1.0"):
        assert targets_of(repository(LATEST), ref, None) == ()


def test_pre_releases_concern_it_only_where_the_rule_says_so() -> None:
    """And the target says so too, for whoever chooses."""
    rule = PublishRule(ref="refs/tags/v*", is_latest=True, prereleases=True)
    (target,) = targets_of(repository(rule), "refs/tags/v1.0-rc", None)
    assert target == Target(ref="refs/tags/v*", path="octo/site/latest", is_latest=True, prereleases=True)


def test_only_what_a_pattern_made_is_retirable() -> None:
    """Neither what the configuration spells out, nor the default branch, nor the latest tag."""
    rules = (
        PublishRule(),
        PublishRule(ref="refs/heads/a", path="a"),
        PublishRule(ref="refs/heads/p/*", path="p/*"),
        LATEST,
    )
    refs = [MAIN, "refs/heads/a", "refs/heads/p/x", "refs/tags/v1"]
    found = targets_in(repository(*rules), refs, MAIN)
    assert [(target.path, target.is_retirable) for target in found] == [
        ("octo/site/main", False),
        ("a", False),
        ("p/x", True),
        ("site", False),
    ]


def test_of_two_rules_for_one_target_the_one_that_spells_it_out_counts() -> None:
    """The default branch is not retired because a pattern matches it as well."""
    rules = PublishRule(ref="refs/heads/m*"), PublishRule()
    assert targets_of(repository(*rules), MAIN, MAIN) == (Target(ref=MAIN, path="octo/site/main"),)
    assert targets_in(repository(*rules), [MAIN, "refs/heads/mx"], MAIN) == (
        Target(ref=MAIN, path="octo/site/main"),
        Target(ref="refs/heads/mx", path="octo/site/mx", is_retirable=True),
    )


def test_a_remotes_targets_are_those_of_its_refs() -> None:
    """Explicit refs that are not there have none; a pattern's come in the order of their names; the latest is one."""
    rules = (
        PublishRule(ref="refs/heads/gone", path="gone"),
        PublishRule(ref="refs/heads/p/*", path="p/*"),
        PublishRule(ref=None, path="live"),
        LATEST,
    )
    refs = ["refs/heads/p/b", "refs/heads/p/a", "refs/heads/p", "refs/heads/q", "refs/tags/v1", "refs/tags/v2"]
    assert [target.path for target in targets_in(repository(*rules), refs, MAIN)] == ["p/a", "p/b", "live", "site"]
    assert targets_in(repository(*rules), [], None) == ()
    assert targets_in(repository(LATEST), ["refs/tags/v1-rc", "refs/tags/vnext"], None) == ()


def test_a_remotes_targets_are_what_its_pushes_would_have_made() -> None:
    """The schedule and the webhook agree."""
    rules = PublishRule(), PublishRule(ref="refs/heads/p*", path="p-*"), PublishRule(ref="refs/tags/*"), LATEST
    refs = [MAIN, "refs/heads/p1", "refs/heads/px/y", "refs/tags/v1", "refs/tags/v2-rc", "refs/heads/x"]
    by_push = {target for ref in refs for target in targets_of(repository(*rules), ref, MAIN)}
    assert set(targets_in(repository(*rules), refs, MAIN)) == by_push


def test_one_branch_without_a_path_does_not_stand_in_the_way_of_the_others() -> None:
    """Its push was refused with the reason; but what the configuration spells out has to be good."""
    rule = PublishRule(ref="refs/heads/*")
    refs = ["refs/heads/mirror.git", "refs/heads/x"]
    assert [target.path for target in targets_in(repository(rule), refs, None)] == ["octo/site/x"]
    dotted = Repository(full_name="octo/.github", url="https://github.com/octo/.github.git")
    assert [target.path for target in targets_in(dotted, [], MAIN)] == ["octo/.github/main"]


def test_the_default_branchs_path_must_not_be_another_refs() -> None:
    """Known only with its name: refused then, whichever ref was pushed."""
    taken = repository(PublishRule(), PublishRule(ref="refs/heads/dev", path="octo/site/main"))
    for ref in (MAIN, "refs/heads/dev"):
        with pytest.raises(ConfigurationInvalid, match=r"publish\[1\] goes to octo/site/main"):
            targets_of(taken, ref, MAIN)
    with pytest.raises(ConfigurationInvalid):
        targets_in(taken, [MAIN], MAIN)
    assert targets_of(taken, "refs/heads/dev", "refs/heads/trunk") != ()


def test_what_a_remote_is_asked_for_covers_every_rule_once() -> None:
    """Full names, patterns without their `*`; the default branch is asked for by HEAD."""
    rules = (
        PublishRule(),
        PublishRule(ref="refs/tags/v*", path="t", is_latest=True),
        PublishRule(ref="refs/heads/main", path="a"),
        PublishRule(ref="refs/heads/ma*", path="b/*"),
        PublishRule(ref="refs/heads/zoo", path="c"),
        PublishRule(ref="refs/heads/main", path="d"),
    )
    assert ref_prefixes(repository(*rules)) == ("refs/heads/ma", "refs/heads/zoo", "refs/tags/v")
    assert ref_prefixes(repository()) == ()


def test_one_target_too_many_is_refused_and_those_that_are_there_go_on() -> None:
    """Also when the bound was lowered below what there is."""
    site, new = repository(), Target(ref="refs/heads/x", path="p/x")
    refuse_too_many(site, {"p/a"}, new, 2)
    refuse_too_many(site, {"p/a", "p/x"}, new, 2)
    refuse_too_many(site, {"p/a", "p/b", "p/x"}, new, 2)
    with pytest.raises(TooManyTargets, match="max_targets, 2") as caught:
        refuse_too_many(site, {"p/a", "p/b"}, new, 2)
    assert (caught.value.reason, caught.value.status) == ("too_many_targets", 500)


def test_a_url_speaks_for_the_repository_that_it_names_and_no_other() -> None:
    """In any case of its letters, as GitHub takes names; the common URL names none."""
    refuse_other_repository(None, "octo/site")
    refuse_other_repository("Octo/Site", "octo/site")
    with pytest.raises(RepositoryUnknown):
        refuse_other_repository("octo/sites", "octo/site")


def test_a_repository_with_its_own_secret_is_not_served_through_the_common_url() -> None:
    """The refusal is the one of a wrong signature."""
    own = Repository(full_name="octo/site", url="https://github.com/octo/site.git", own_secret=True)
    refuse_common_secret(own, "octo/site")
    refuse_common_secret(repository(), None)
    with pytest.raises(SignatureInvalid):
        refuse_common_secret(own, None)
