"""Which targets publish a ref."""

import pytest

from handler.errors import ConfigurationInvalid
from handler.model import PublishRule, Repository, Target
from handler.routing import needs_default_branch, targets_of

MAIN = "refs/heads/main"


def repository(*rules: PublishRule) -> Repository:
    """Return a repository with these rules, or the default one."""
    return Repository("octo/site", "https://github.com/octo/site.git", rules or (PublishRule(),))


def paths(ref: str, *rules: PublishRule, default: str | None = MAIN) -> list[str]:
    """Return where `ref` is published."""
    targets = targets_of(repository(*rules), ref, default)
    assert all(target.ref == ref for target in targets)
    return [target.path for target in targets]


def test_the_default_branch_goes_below_the_repositorys_name() -> None:
    """`<owner>/<name>/<branch>`, with no configuration at all."""
    assert targets_of(repository(), MAIN, MAIN) == (Target(MAIN, "octo/site/main"),)


@pytest.mark.parametrize("ref", ["refs/heads/other", "refs/tags/main", "refs/heads/main/x", "refs/heads/mai"])
def test_a_ref_that_no_rule_names_has_no_target(ref: str) -> None:
    """It is ignored, not an error."""
    assert paths(ref) == []
    assert paths(ref, PublishRule(MAIN)) == []


def test_an_unknown_default_branch_matches_nothing() -> None:
    """Rather nothing than a guess; rules with a ref need no default branch."""
    assert paths(MAIN, default=None) == []
    assert paths(MAIN, PublishRule(MAIN, "live"), PublishRule(), default=None) == ["live"]


def test_a_default_branch_with_slashes_goes_deeper() -> None:
    """A branch's name may have parts."""
    assert paths("refs/heads/team/main", default="refs/heads/team/main") == ["octo/site/team/main"]


def test_a_rules_path_wins() -> None:
    """Explicit before default."""
    assert paths(MAIN, PublishRule(None, "live")) == ["live"]
    assert paths(MAIN, PublishRule(MAIN, "sites/live")) == ["sites/live"]


def test_a_tag_goes_below_tags() -> None:
    """A tag and a branch of one name keep apart."""
    assert paths("refs/tags/v1", PublishRule("refs/tags/v1")) == ["octo/site/tags/v1"]
    assert paths("refs/tags/v1", PublishRule("refs/tags/*")) == ["octo/site/tags/v1"]


def test_a_pattern_stands_for_the_same_on_both_sides() -> None:
    """All that follows the fixed part, slashes too, as in git's refspecs."""
    rules = PublishRule("refs/heads/preview/*", "previews/*"), PublishRule("refs/heads/preview/*")
    assert paths("refs/heads/preview/x", *rules) == ["previews/x", "octo/site/preview/x"]
    assert paths("refs/heads/preview/team/x", *rules) == ["previews/team/x", "octo/site/preview/team/x"]


@pytest.mark.parametrize("ref", ["refs/heads/preview", "refs/heads/previews/x", "refs/heads/x/preview/y"])
def test_a_pattern_matches_whole_parts_from_the_start(ref: str) -> None:
    """Not the bare prefix, not a longer word, not further in."""
    assert paths(ref, PublishRule("refs/heads/preview/*", "p/*")) == []


def test_one_ref_can_have_many_targets_in_the_order_of_the_rules() -> None:
    """Each rule speaks for itself."""
    rules = PublishRule(MAIN, "b"), PublishRule("refs/heads/*", "all/*"), PublishRule(None, "a")
    assert paths(MAIN, *rules) == ["b", "all/main", "a"]


def test_two_rules_for_one_place_make_one_target() -> None:
    """The default branch may be one that another rule names."""
    assert paths(MAIN, PublishRule(), PublishRule(MAIN)) == ["octo/site/main"]


@pytest.mark.parametrize("branch", ["mirror.git", "x/mirror.git/y", "x" * 256])
def test_a_branch_whose_name_makes_no_path_is_a_problem_of_the_configuration(branch: str) -> None:
    """The message names ref and path, and an explicit path is the way out."""
    ref = f"refs/heads/{branch}"
    with pytest.raises(ConfigurationInvalid) as caught:
        paths(ref, PublishRule("refs/heads/*"))
    assert ref in str(caught.value)
    assert f"octo/site/{branch}" in str(caught.value)
    assert paths(ref, PublishRule(ref, "elsewhere")) == ["elsewhere"]


def test_a_repository_with_a_dot_name_needs_a_path() -> None:
    """Names with a leading dot are not the consumers'."""
    dotted = Repository("octo/.github", "https://github.com/octo/.github.git")
    with pytest.raises(ConfigurationInvalid, match="starts with a dot"):
        targets_of(dotted, MAIN, MAIN)


def test_the_default_branch_is_asked_for_only_where_a_rule_needs_it() -> None:
    """Asking costs a request."""
    assert needs_default_branch(repository())
    assert needs_default_branch(repository(PublishRule(MAIN), PublishRule(None, "x")))
    assert not needs_default_branch(repository(PublishRule(MAIN), PublishRule("refs/heads/*", "x/*")))
