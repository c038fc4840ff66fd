"""Which targets publish which refs, and which repository a delivery may publish. Pure: no I/O, no clock."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from handler.config.names import default_path, is_pattern, path_problem, starred
from handler.config.overlaps import default_branch_overlap, path_of
from handler.config.patterns import full_excluded_ref
from handler.errors import ConfigurationInvalid, RepositoryUnknown, SignatureInvalid, TooManyTargets
from handler.model import Forge, PublishRule, Repository, Target


def targets_of(repository: Repository, ref: str, default_branch_ref: str | None) -> tuple[Target, ...]:
    """Return the targets that publish `ref`, in the order of the rules; none when no rule names it.

    `default_branch_ref` is the remote's default branch (`refs/heads/main`); None, where it is not known, matches no
    rule. For a rule that publishes the latest tag, return its target for every tag that could be the latest.

    Raises ConfigurationInvalid, naming ref and path, when a branch's name makes a path that a target cannot have, or
    that another rule publishes another ref to.
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
    """Return all targets of a remote with these refs, in the order of the rules, those of one pattern sorted by ref.

    `default_branch_ref`, where it is known, counts as one of `refs`. A retirable target that is on the mount and not
    among these has lost its ref or its rule. A ref that a pattern matches, but that makes no valid path, is left out:
    one such branch must not stop the others, and its own push was answered with the reason.

    Raises ConfigurationInvalid as `targets_of` does, but not for refs that a pattern matches.
    """
    _refuse_overlap(repository, default_branch_ref)
    names = sorted({*refs, default_branch_ref} if default_branch_ref else set(refs))
    return _unique_by_path(
        target for rule in repository.publish for target in _targets_by(repository, rule, names, default_branch_ref)
    )


def ref_prefixes(repository: Repository) -> tuple[str, ...]:
    """Return the prefixes of all targets' refs, sorted, none of them starting with another.

    Filter the remote's answer with `targets_in`: the prefix `refs/heads/main` also matches `refs/heads/main2`. The
    default branch is not among them; ask for HEAD where `needs_default_branch`.
    """
    prefixes: list[str] = []
    for prefix in sorted({rule.ref.removesuffix("*") for rule in repository.publish if rule.ref is not None}):
        if not prefixes or not prefix.startswith(prefixes[-1]):
            prefixes.append(prefix)
    return tuple(prefixes)


def needs_default_branch(repository: Repository) -> bool:
    """Whether a rule publishes the remote's default branch, whose name only the remote knows."""
    return any(rule.ref is None for rule in repository.publish)


def left_over_sentence(repository: Repository, ref: str, default_branch_ref: str | None = None) -> str:
    """Return the end of a sentence about a path that `ref` was published to, and that no rule publishes it to now."""
    sentence = f"was published from {ref}, and no rule publishes that there any more: its readers get no further pushes"
    if not needs_default_branch(repository):
        return sentence
    if default_branch_ref is None:
        return f"{sentence} (was the default branch renamed?)"
    return f"{sentence}; the default branch is {default_branch_ref}"


def refuse_too_many(repository: Repository, paths: Collection[str], target: Target, max_targets: int) -> None:
    """Raise TooManyTargets if `target` is not among the repository's `paths` and `max_targets` allows no more.

    Existing targets are published even where `max_targets` was lowered below their number.
    """
    if target.path not in paths and len(paths) >= max_targets:
        raise TooManyTargets(
            f"{repository.full_name} has {len(paths)} targets, and {target.path} would be one more than max_targets,"
            f" {max_targets}, allows (GIT2EFS_MAX_TARGETS)"
        )


def refuse_other_repository(url_repository: str | None, full_name: str) -> None:
    """Raise RepositoryUnknown if a delivery's URL names another repository than its payload.

    A holder of one repository's own secret learns nothing more about others. As on GitHub, case does not matter. None
    is the common URL, which names no repository.
    """
    if url_repository is not None and url_repository.lower() != full_name.lower():
        raise RepositoryUnknown(f"the URL speaks for {url_repository}, the payload for another repository")


def refuse_other_forge(repository: Repository, forge: Forge, path: str | None) -> None:
    """Raise RepositoryUnknown unless the delivery came by the repository's own forge, about what its url leads to.

    `path` is what the forge calls the repository. Two of a forge's may have one name here, and only one of them is the
    one that is published. None is not compared.
    """
    name = repository.full_name
    if repository.forge is not forge:
        raise RepositoryUnknown(
            f"{name} is of {repository.forge.label}, and this came from {forge.label}: see its forge"
        )
    if path is None:
        return
    from urllib.parse import urlsplit  # GitHub's deliveries do not pay for it

    # Letter case names no other repository on any forge; before the path an instance may have one of its own.
    end = urlsplit(repository.url).path.rstrip("/").removesuffix(".git").lower()
    if not end.endswith(f"/{path.lower()}"):
        raise RepositoryUnknown(f"the url of {name} does not lead to {path[:200]}, which was pushed: see its url")


def refuse_common_secret(repository: Repository, url_repository: str | None) -> None:
    """Raise SignatureInvalid if the repository has its own secret and the delivery came through the common URL.

    Otherwise any holder of the common secret could push for it.
    """
    if repository.own_secret and url_repository is None:
        raise SignatureInvalid(f"{repository.full_name} has its own secret, and this came through the common URL")


def _refuse_overlap(repository: Repository, default_branch_ref: str | None) -> None:
    """Refuse an overlap that only the default branch's name shows: its path belongs to another rule."""
    if default_branch_ref is None or len(repository.publish) == 1:
        return
    number = default_branch_overlap(repository.full_name, repository.publish, default_branch_ref)
    if number is not None:
        path = default_path(repository.full_name, default_branch_ref)
        raise ConfigurationInvalid(
            f"{repository.full_name}: publish[{number}] goes to {path}, where the default branch"
            f" {default_branch_ref} goes, or one lies in the other; give one of them a path"
        )


def _target_of(full_name: str, rule: PublishRule, ref: str, default_branch_ref: str | None) -> Target | None:
    """Return the target that `rule` makes of `ref`, None when it does not publish it."""
    if rule.ref is None:
        if ref != default_branch_ref:
            return None
        path = rule.path if rule.path is not None else default_path(full_name, ref)
        return _target(rule, ref, path)
    path = path_of(full_name, rule)
    if rule.is_latest:
        from handler.config.versions import version_of  # only rules for the latest tag need it

        if version_of(ref, rule.ref, prereleases=rule.prereleases) is None:
            return None
        return replace(_target(rule, rule.ref, path), is_latest=True, prereleases=rule.prereleases)
    target = _target(rule, ref, path)
    if not is_pattern(rule.ref):
        return target if ref == rule.ref else None
    rest = None if _is_excluded(rule, ref) else starred(rule.ref, ref)
    return None if rest is None else replace(target, path=path[:-1] + rest, is_retirable=True)


def _target(rule: PublishRule, ref: str, path: str) -> Target:
    return Target(
        ref=ref,
        path=path,
        is_copy=rule.is_copy,
        autostash=rule.autostash,
        subdirectory=rule.subdirectory,
        exclude=rule.exclude,
    )


def _is_excluded(rule: PublishRule, ref: str) -> bool:
    excluded = (full_excluded_ref(rule.ref or "", each) for each in rule.exclude_refs)
    return any(starred(each, ref) is not None if is_pattern(each) else ref == each for each in excluded)


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
    """Return one target for each path: of two, the one that no pattern made, so that it is never retired."""
    by_path: dict[str, Target] = {}
    for target in targets:
        known = by_path.get(target.path)
        if known is None or (known.is_retirable and not target.is_retirable):
            by_path[target.path] = target
    return tuple(by_path.values())
