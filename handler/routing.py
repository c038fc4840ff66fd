"""Which targets publish a ref. Pure: no I/O, no clock."""

from handler.errors import ConfigurationInvalid
from handler.model import PublishRule, Repository, Target
from handler.names import default_path, path_problem


def targets_of(repository: Repository, ref: str, default_branch_ref: str | None) -> tuple[Target, ...]:
    """Return the targets that publish `ref`, in the order of the rules; none when no rule names it.

    `default_branch_ref` is what the remote calls its default branch (`refs/heads/main`); None, where it is
    not known, matches no rule.

    Raises ConfigurationInvalid, naming ref and path, when a branch's name makes a path that a target cannot
    have.
    """
    targets: dict[Target, None] = {}  # a dict, because two rules may name the same target
    for rule in repository.publish:
        path = _path_for(repository.full_name, rule, ref, default_branch_ref)
        if path is None:
            continue
        if problem := path_problem(path):
            raise ConfigurationInvalid(
                f"{repository.full_name}: {ref} would go to {path}, which {problem}; give it a path"
            )
        targets[Target(ref, path)] = None
    return tuple(targets)


def needs_default_branch(repository: Repository) -> bool:
    """Whether a rule publishes the remote's default branch, whose name only the remote knows."""
    return any(rule.ref is None for rule in repository.publish)


def _path_for(full_name: str, rule: PublishRule, ref: str, default_branch_ref: str | None) -> str | None:
    """Return the path at which `rule` publishes `ref`, None when it does not."""
    wanted = default_branch_ref if rule.ref is None else rule.ref
    if wanted is not None and wanted.endswith("/*"):
        prefix = wanted[:-1]
        if not ref.startswith(prefix):
            return None
        if rule.path is not None:
            return rule.path[:-1] + ref.removeprefix(prefix)
        return default_path(full_name, ref)
    if ref != wanted:
        return None
    return rule.path if rule.path is not None else default_path(full_name, ref)
