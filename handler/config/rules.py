"""The rules of a repository's parameter, `publish`: which ref goes where. Pure: no I/O, no clock."""

from handler.config.fields import MAX_SHOWN_NAME, FieldReader, checked, flag, text, texts
from handler.config.names import is_pattern, path_problem, ref_problem, subdirectory_problem
from handler.config.overlaps import covers_repository, overlapping_rules, path_of
from handler.config.patterns import MAX_PATTERNS, exclude_problem, excluded_ref_problem
from handler.model import PublishRule

MAX_RULES = 100
_RULE_FIELDS = frozenset(
    {"ref", "path", "subdirectory", "exclude", "exclude_refs", "mode", "autostash", "latest", "prereleases"}
)
_RELEASES, _WORKING_COPY = "releases", "working-copy"


def parameter_of_rule(rule: PublishRule) -> dict[str, object]:
    """Return the JSON object that `read_publish` reads as the rule."""
    given = {
        "ref": rule.ref,
        "path": rule.path,
        "latest": rule.is_latest or None,
        "prereleases": rule.prereleases or None,
        "mode": _WORKING_COPY if rule.is_copy else None,
        "autostash": rule.autostash or None,
        "subdirectory": rule.subdirectory,
        "exclude": list(rule.exclude) or None,
        "exclude_refs": list(rule.exclude_refs) or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def read_publish(fields: dict[str, object], full_name: str, problems: list[str]) -> tuple[PublishRule, ...]:
    """Return the rules of a parameter's fields, and add to `problems` what is wrong with them."""
    if "publish" not in fields:
        return (PublishRule(),)
    entries = fields["publish"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_RULES:
        problems.append(f"publish is not a list of 1 to {MAX_RULES} objects")
        return ()
    rules: list[PublishRule] = []
    before = len(problems)
    for position, entry in enumerate(entries):
        rules.append(_read_rule(entry, f"publish[{position}]", problems))
    if len(problems) == before:
        problems.extend(_overlap_problems(rules, full_name))
    return tuple(rules)


def _read_rule(entry: object, where: str, problems: list[str]) -> PublishRule:
    """Return one rule.

    `ref` is a full name under refs/heads/ or refs/tags/, or a pattern: such a name with `*` as its last character,
    which matches the rest of a ref, slashes too, as in git's refspecs. By default it is the remote's default branch.
    `path` is where it goes, relative to the mount; a pattern's path must end with `*` too, which stands for the same.
    `latest` publishes the newest version among the tags that a pattern matches, to a path without `*`.
    `mode` is "releases", or "working-copy" for a branch that is kept as a git working copy; `autostash` then stashes
    uncommitted changes before a pull, and applies them afterwards. `subdirectory` is the directory of the tree that
    is published alone, `exclude` has patterns of what is not published of it; a working copy has no such things.
    `exclude_refs` has refs, and patterns of refs, that a pattern does not take.
    """
    if not isinstance(entry, dict):
        problems.append(f"{where} is not an object")
        return PublishRule()
    reader = FieldReader(entry, problems, prefix=f"{where}.")
    reader.refuse_unknown(_RULE_FIELDS)
    mode = reader.read("mode", _mode, _RELEASES)
    rule = PublishRule(
        ref=reader.read("ref", text, None),
        path=reader.read("path", text, None),
        is_latest=reader.read("latest", flag, False),
        prereleases=reader.read("prereleases", flag, False),
        is_copy=mode == _WORKING_COPY,
        autostash=reader.read("autostash", flag, False),
        subdirectory=reader.read("subdirectory", checked(subdirectory_problem), None),
        exclude=reader.read("exclude", texts(MAX_PATTERNS), ()),
        exclude_refs=reader.read("exclude_refs", texts(MAX_PATTERNS), ()),
    )
    if rule.ref is not None:
        reader.refuse("ref", _rule_ref_problem(rule.ref))
    if rule.path is not None:
        reader.refuse("path", _rule_path_problem(rule.path, rule))
    _refuse_patterns(rule, reader)
    _refuse_combinations(rule, reader)
    return rule


def _mode(value: object) -> str:
    if value not in (_RELEASES, _WORKING_COPY):
        raise ValueError(f'is neither "{_RELEASES}" nor "{_WORKING_COPY}"')
    return str(value)


def _refuse_patterns(rule: PublishRule, reader: FieldReader) -> None:
    # Named one by one: of a long list nobody could tell which is meant.
    for pattern in rule.exclude:
        reader.refuse(f"exclude {pattern[:MAX_SHOWN_NAME]!a}", exclude_problem(pattern))
    if rule.exclude_refs and (rule.is_latest or not is_pattern(rule.ref or "")):
        reader.refuse("exclude_refs", "means nothing without a pattern that publishes each ref, as refs/heads/*")
        return
    for excluded in rule.exclude_refs:
        name = f"exclude_refs {excluded[:MAX_SHOWN_NAME]!a}"
        reader.refuse(name, excluded_ref_problem(rule.ref or "", excluded))


def _refuse_combinations(rule: PublishRule, reader: FieldReader) -> None:
    is_of_tags = (rule.ref or "").startswith("refs/tags/")
    if rule.is_latest and not (is_pattern(rule.ref or "") and is_of_tags):
        reader.refuse("latest", "needs a ref that is a pattern of tags, as refs/tags/v*")
    if rule.prereleases and not rule.is_latest:
        reader.refuse("prereleases", "means nothing without latest: a pattern publishes every tag")
    if rule.is_copy and is_of_tags:
        reader.refuse("mode", "is for branches: nobody commits on a tag, or pulls one")
    for name in ("subdirectory", "exclude") if rule.is_copy else ():
        if getattr(rule, name):
            reader.refuse(name, f'is for releases: with the mode "{_WORKING_COPY}" the whole tree is checked out')
    if rule.autostash and not rule.is_copy:
        reader.refuse("autostash", f'means nothing without the mode "{_WORKING_COPY}"')


def _rule_ref_problem(ref: str) -> str | None:
    if not ref.startswith(("refs/heads/", "refs/tags/")):
        return "is not a full name: refs/heads/<branch> or refs/tags/<tag>"
    if "*" in ref[:-1]:
        return "has a * that is not its last character"
    return ref_problem(_sample(ref))


def _rule_path_problem(path: str, rule: PublishRule) -> str | None:
    if not is_pattern(rule.ref or "") or rule.is_latest:
        return "has a * that does not stand for a pattern's" if "*" in path else path_problem(path)
    if not is_pattern(path):
        return "does not end with * as its ref does: all that the pattern matches would go to one place"
    if path == "*":
        return "has nothing before its *: it would take all of the mount"
    return "has a * that is not its last character" if "*" in path[:-1] else path_problem(_sample(path))


def _sample(pattern: str) -> str:
    """Return a name that the pattern matches, so that the rules for names can judge its fixed part."""
    return f"{pattern[:-1]}x" if is_pattern(pattern) else pattern


def _overlap_problems(rules: list[PublishRule], full_name: str) -> list[str]:
    """Return the problems of rules that publish to an earlier rule's path, above it, inside it, or over the mirror.

    Overlaps that depend on the default branch's name or on other repositories are refused when these are known.
    """
    problems = [
        f"publish[{number}].path takes the repository's own directory {full_name}, where its mirror is"
        for number, rule in enumerate(rules)
        if covers_repository(full_name, rule)
    ]
    problems += [
        f"publish[{number}] would go to {path_of(full_name, rule)}, which {problem}; give it a path"
        for number, rule in enumerate(rules)
        if rule.is_latest and rule.path is None and (problem := path_problem(path_of(full_name, rule)))
    ]
    # One line for each rule, so that a hundred rules with one path do not make thousands of lines.
    for earlier, later in overlapping_rules(full_name, rules):
        problems.append(f"publish[{later}] goes to the path of publish[{earlier}], or one lies in the other")
    return problems
