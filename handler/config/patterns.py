"""What a rule leaves out: patterns of paths, as in a .gitignore, and of refs. Pure: no I/O, no clock."""

from handler.config.names import is_pattern, ref_problem

MAX_PATTERNS = 100
MAX_PATTERN_BYTES = 256
_MOST_STARS, _MOST_DIRECTORIES = 3, 2
"""A pattern becomes a regular expression. With so many `*` between two slashes, and so many `**`, the longest path that
a file system takes is matched within seconds at worst; each further one would multiply that by hundreds."""
_CLASSES = frozenset(
    ["alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"]
)


def exclude_problem(pattern: str) -> str | None:
    """Return what is wrong with a pattern of paths. Some of these git would take, and match nothing with them."""
    try:
        size = len(pattern.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= MAX_PATTERN_BYTES or set(pattern) & set("\0\n\r"):
        return f"is not UTF-8 of 1 to {MAX_PATTERN_BYTES} bytes in one line"
    if pattern != pattern.strip():
        return "begins or ends with a blank"
    if pattern.startswith("#"):
        return "is a comment; a name that begins so is \\#"
    pattern = pattern.removeprefix("!")
    if not pattern.strip("/"):
        return "matches nothing"
    if "***" in pattern:
        return "has three * in a row"
    return _problem_of_brackets(pattern) or _problem_of_stars(pattern)


def _problem_of_brackets(pattern: str) -> str | None:
    at = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            if at + 1 == len(pattern):
                return "ends with a backslash"
            at += 1
        elif pattern[at] == "[":
            end = _end_of_brackets(pattern, at + 1)
            if end is None:
                return "has a [ without its ], or a class between brackets that git does not know"
            at = end
        at += 1
    return None


def _end_of_brackets(pattern: str, at: int) -> int | None:
    """Return where the bracket expression ends whose first character is at `at`; None where it does not."""
    if pattern[at : at + 1] in ("!", "^"):
        at += 1
    first = at
    while at < len(pattern):
        if pattern[at] == "]" and at > first:
            return at
        if pattern[at] == "\\":
            at += 1
        elif pattern.startswith("[:", at):
            end = pattern.find(":]", at)
            if pattern[at + 2 : end] not in _CLASSES or end < 0:
                return None
            at = end + 1
        at += 1
    return None


def _problem_of_stars(pattern: str) -> str | None:
    parts = pattern.split("/")
    if sum("**" in part for part in parts) > _MOST_DIRECTORIES:
        return f"has more than {_MOST_DIRECTORIES} **"
    if any(part.count("*") > _MOST_STARS for part in parts):
        return f"has more than {_MOST_STARS} * between two slashes"
    return None


def full_excluded_ref(rule_ref: str, excluded: str) -> str:
    """Return the full name of a ref or pattern that a rule leaves out: `dependabot/*` is one of the rule's own kind."""
    if excluded.startswith("refs/"):
        return excluded
    return "/".join((*rule_ref.split("/")[:2], excluded))


def excluded_ref_problem(rule_ref: str, excluded: str) -> str | None:
    """Return what is wrong with a ref, or a pattern with a `*` as its last character, that a rule leaves out."""
    ref = full_excluded_ref(rule_ref, excluded)
    if "*" in ref[:-1]:
        return "has a * that is not its last character"
    if problem := ref_problem(f"{ref[:-1]}x" if is_pattern(ref) else ref):
        return problem
    fixed, other = rule_ref.removesuffix("*"), ref.removesuffix("*")
    if not other.startswith(fixed) and not (is_pattern(ref) and fixed.startswith(other)):
        return "is none that the rule's ref matches"
    return "leaves nothing that the rule could publish" if is_pattern(ref) and fixed.startswith(other) else None
