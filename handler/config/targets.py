"""Which targets publish which refs, and whom a delivery may speak for. Pure: no I/O, no clock."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from handler.config.names import default_path, is_pattern, path_problem, starred
from handler.config.overlaps import default_branch_overlap, path_of
from handler.config.versions import version_of
from handler.errors import ConfigurationInvalid, RepositoryUnknown, SignatureInvalid, TooManyTargets
from handler.model import PublishRule, Repository, Target


def targets_of(repository: Repository, ref: str, default_branch_ref: str | None) -> tuple[Target, ...]:
    """Return the targets that a push of `ref` concerns, in the order of the rules; none when no rule names it.

    `default_branch_ref` is what the remote calls its default branch (`refs/heads/main`); None, where it is
    not known, matches no rule. A rule for the latest tag is concerned by each tag that could be it.

    Raises ConfigurationInvalid, naming ref and path, when a branch's name makes a path that a target cannot
    have, or that another rule publishes another ref to.
    """
    _refuse_overlap(repository, default_branch_ref)
    found = []
    for rule in repository.publish:
        target = _target_of(repository.full_name, rule, ref, default_branch_ref)
        if target is None:
            continue
        if problem := path_problem(target.path):
            raise _bad_path(repository, ref, target, problem)
        found.append(target)
    return _unique_by_path(found)


def targets_in(repository: Repository, refs: Iterable[str], default_branch_ref: str | None) -> tuple[Target, ...]:
    """Return all targets that a remote with these refs has, in the order of the rules, a pattern's by their refs.

    `default_branch_ref`, where it is known, counts as one of `refs`. A target that is on the mount, is retirable and
    is not among these has lost its ref, or its rule. What a pattern matches and no path can be made of is left out:
    one such branch must not stand in the way of the others, and its push was answered with the reason.

    Raises ConfigurationInvalid as `targets_of`, for what no pattern made.
    """
    _refuse_overlap(repository, default_branch_ref)
    names = sorted({*refs, default_branch_ref} if default_branch_ref else set(refs))
    return _unique_by_path(
        target for rule in repository.publish for target in _targets_by(repository, rule, names, default_branch_ref)
    )


def ref_prefixes(repository: Repository) -> tuple[str, ...]:
    """Return what the refs of all targets begin with, sorted, none of them covered by another.

    What a remote answers for them has to be filtered by `targets_in`: `refs/heads/main` also asks for
    `refs/heads/main2`. The default branch is not among them; `needs_default_branch` says whether to ask for HEAD.
    """
    prefixes: list[str] = []
    for prefix in sorted({rule.ref.removesuffix("*") for rule in repository.publish if rule.ref is not None}):
        if not prefixes or not prefix.startswith(prefixes[-1]):
            prefixes.append(prefix)
    return tuple(prefixes)


def needs_default_branch(repository: Repository) -> bool:
    """Whether a rule publishes the remote's default branch, whose name only the remote knows."""
    return any(rule.ref is None for rule in repository.publish)


def refuse_too_many(repository: Repository, paths: Collection[str], target: Target, max_targets: int) -> None:
    """Raise TooManyTargets if `target` is not among the repository's `paths` and there is no room for one more.

    What is there already goes on being published, whatever the bound was lowered to.
    """
    if target.path not in paths and len(paths) >= max_targets:
        raise TooManyTargets(
            f"{repository.full_name} has {len(paths)} targets, and {target.path} would be one more than max_targets,"
            f" {max_targets}, allows"
        )


def refuse_other_repository(url_repository: str | None, full_name: str) -> None:
    """Raise RepositoryUnknown if a delivery's URL names another repository than its payload.

    Whoever holds one repository's own secret hears no more of others than that. Names are GitHub's: their case does
    not matter. None, the common URL, names none.
    """
    if url_repository is not None and url_repository.lower() != full_name.lower():
        raise RepositoryUnknown(f"the URL speaks for {url_repository}, the payload for another repository")


def refuse_common_secret(repository: Repository, url_repository: str | None) -> None:
    """Raise SignatureInvalid if the repository has its own secret and the delivery came through the common URL.

    Else whoever holds the organisation's secret could push for it.
    """
    if repository.own_secret and url_repository is None:
        raise SignatureInvalid(f"{repository.full_name} has its own secret, and this came through the common URL")


def _refuse_overlap(repository: Repository, default_branch_ref: str | None) -> None:
    """Refuse what configuration could not see: the default branch's path, by its name, is another rule's."""
    if default_branch_ref is None:
        return
    number = default_branch_overlap(repository.full_name, repository.publish, default_branch_ref)
    if number is not None:
        path = default_path(repository.full_name, default_branch_ref)
        raise ConfigurationInvalid(
            f"{repository.full_name}: publish[{number}] goes to {path}, where the default branch"
            f" {default_branch_ref} goes, or one lies in the other; give one of them a path"
        )


def _target_of(full_name: str, rule: PublishRule, ref: str, default_branch_ref: str | None) -> Target | None:
    """Return the target by which `rule` publishes `ref`, None when it does not."""
    if rule.ref is None:
        if ref != default_branch_ref:
            return None
        path = rule.path if rule.path is not None else default_path(full_name, ref)
        return Target(ref=ref, path=path, is_copy=rule.is_copy, autostash=rule.autostash)
    path = path_of(full_name, rule)
    if rule.is_latest:
        if version_of(ref, rule.ref, prereleases=rule.prereleases) is None:
            return None
        return Target(ref=rule.ref, path=path, is_latest=True, prereleases=rule.prereleases)
    target = Target(ref=ref, path=path, is_copy=rule.is_copy, autostash=rule.autostash)
    if not is_pattern(rule.ref):
        return target if ref == rule.ref else None
    rest = starred(rule.ref, ref)
    return None if rest is None else replace(target, path=path[:-1] + rest, is_retirable=True)


def _targets_by(
    repository: Repository, rule: PublishRule, names: Iterable[str], default_branch_ref: str | None
) -> Iterator[Target]:
    for ref in names:
        target = _target_of(repository.full_name, rule, ref, default_branch_ref)
        if target is None:
            continue
        problem = path_problem(target.path)
        if problem is None:
            yield target
        elif not target.is_retirable:
            raise _bad_path(repository, ref, target, problem)


def _bad_path(repository: Repository, ref: str, target: Target, problem: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        f"{repository.full_name}: {ref} would go to {target.path}, which {problem}; give it a path"
    )


def _unique_by_path(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Leave one target a path: two rules may name the same, and one that spells it out keeps it from being retired."""
    by_path: dict[str, Target] = {}
    for target in targets:
        known = by_path.get(target.path)
        if known is None or (known.is_retirable and not target.is_retirable):
            by_path[target.path] = target
    return tuple(by_path.values())
