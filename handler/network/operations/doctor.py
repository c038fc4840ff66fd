"""The doctor checks everything that publishing needs, each by itself, and says what to do about what is wrong.

It publishes nothing and shows no secret. On the mount it writes only in a directory of its own, and removes it.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from handler.config.names import is_pattern, spelled_otherwise
from handler.config.overlaps import overlaps_between
from handler.config.targets import left_over_sentence, needs_default_branch, ref_prefixes, targets_in
from handler.config.versions import newest
from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import ConfigurationInvalid, Git2EfsError, RepositoryUnknown, TargetUnknown
from handler.exchange.checks import MAX_SKEW_SECONDS, CheckList
from handler.exchange.drift import TargetDrift
from handler.exchange.operations import Operations
from handler.exchange.remote import RemoteRefs
from handler.model import Repository
from handler.network.aws.parameters import Parameters
from handler.network.deliver import Deliverer
from handler.network.operations.checks import check_bus, check_queue, check_secrets
from handler.settings import Settings

LAST_REQUEST_SECONDS = 60.0
"""A command asks no further remote within this time of its deadline: too little of it is left for an answer."""
_IN_FLIGHT = 16
_MAX_PATHS = 5
"""Paths that one check names."""

NamedRepository = tuple[str, Repository | ConfigurationInvalid]
"""A repository by its full name, or what is wrong with its parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor:
    """Checks one stack. `say` is told in a sentence what is being checked."""

    settings: Settings
    parameters: Parameters
    operations: Operations
    deliverer: Deliverer
    clock: Callable[[], float]
    say: Callable[[str], None]
    deadline: Deadline = NO_DEADLINE
    """No request outlives it; LAST_REQUEST_SECONDS before it, the doctor asks no further remote."""

    def check(self, full_name: str | None) -> CheckList:
        """Make all checks; of the repositories only `full_name`, or every one (None). Raises no Exception."""
        checks = CheckList()
        settings = self.settings
        checks.ok("settings", found=f"parameters below {settings.parameter_prefix}, mount {settings.mount}")
        self.say("looking at the mount")
        todo = "see that GIT2EFS_PUBLISHER names the function, and that this role may invoke it; then read its log"
        with checks.step("publisher", todo=todo):
            checks.extend(self.operations.mount_checks())
            if settings.publisher:
                checks.ok("publisher", found=f"{settings.publisher} answers")
        self.say("reading the parameters")
        listed = self._list(checks)
        chosen = [each for each in listed if full_name in (None, each[0])]
        self._check_ownerless(checks, {each[0] for each in listed} if full_name is None else None)
        if full_name is not None and not chosen:
            chosen = self._find_unlisted(checks, full_name, [name for name, _ in listed])
            listed = [*listed, *chosen]
        check_secrets(checks, settings, self.parameters, _valid(chosen))
        check_queue(checks, settings)
        check_bus(checks, settings)
        for sentence in overlaps_between(_valid(listed)):
            todo = "give one of them another path: the later one's pushes are refused"
            checks.wrong("places", found=sentence, todo=todo)
        self.say("asking the remotes")
        with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="doctor") as pool:
            for found in pool.map(lambda each: self._check_repository(*each), chosen):
                checks.extend(found)
        return checks

    def _find_unlisted(self, checks: CheckList, full_name: str, listed: Sequence[str]) -> list[NamedRepository]:
        """Return the repository where an owner's rule includes it, and it was not published yet."""
        owner, name = full_name.partition("/")[0], f"{self.settings.parameter_prefix}/repositories/{full_name}"
        found = f"there is no parameter {name}"
        if owner in self._owners():
            try:
                return [(full_name, self.parameters.repository(full_name))]
            except ConfigurationInvalid as error:
                return [(full_name, error)]
            except Git2EfsError as error:
                found = str(error)
        todo = f"git2efs add {full_name} puts it"
        if spelling := spelled_otherwise(full_name, listed):
            todo = f"there is one of {spelling}: letter case counts, name it as GitHub does"
        checks.wrong("repository", found=found, todo=todo)
        return []

    def _owners(self) -> Sequence[str]:
        """Return the owners that have a rule; none where that cannot be told, which is a check of its own."""
        try:
            return self.parameters.owners()
        except Git2EfsError:
            return ()

    def _published(self) -> Sequence[str]:
        try:
            return self.operations.repositories()
        except Git2EfsError:
            return ()  # the publisher's checks say why

    def _check_ownerless(self, checks: CheckList, configured: Collection[str] | None) -> None:
        """Name what is published and has no parameter any more; None: a single repository is asked for."""
        if configured is None:
            return
        todo = "see that the mount can be read"
        with checks.step("repositories without a parameter", todo=todo):
            for name in self.operations.repositories():
                if name in configured or self._is_configured(name):
                    continue
                with suppress(TargetUnknown):  # all its targets were retired, or taken over
                    paths = [each.path for each in self.operations.find_targets(name)]
                    checks.ok(
                        f"{name}: files",
                        found=f"nothing updates {_several(paths)} any more: {name} has no parameter",
                        todo=f"if it was renamed: git2efs take-over NEW/NAME --from {name}; it keeps what readers have",
                    )

    def _is_configured(self, name: str) -> bool:
        # The list may be older than a parameter that was put just now.
        try:
            self.parameters.repository(name)
        except RepositoryUnknown:
            return False
        except ConfigurationInvalid:
            pass
        return True

    def _list(self, checks: CheckList) -> Sequence[NamedRepository]:
        name = f"{self.settings.parameter_prefix}/repositories"
        todo = "see that the role may read the parameters, and that Parameter Store can be reached"
        with checks.step("parameters", todo=todo):
            listed = list(self.parameters.repositories(self._published))
            owners = self.parameters.owners()
            if listed or owners:
                rules = f"; rules for all of {_several(owners)}" if owners else ""
                checks.ok("parameters", found=f"repositories below {name}: {len(listed)}{rules}")
                return listed
            todo = "git2efs add OWNER/NAME; "
            todo += f"or put it: aws ssm put-parameter --name {name}/OWNER/NAME --type String --value '{{}}'"
            checks.wrong("parameters", found=f"no repository below {name}", todo=todo)
        return ()

    def _check_repository(self, name: str, repository: Repository | ConfigurationInvalid) -> CheckList:
        checks = CheckList()
        if isinstance(repository, ConfigurationInvalid):
            todo = "put the parameter right: README, Configure"
            checks.wrong(f"{name}: parameter", found=str(repository), todo=todo)
            return checks
        checks.ok(f"{name}: parameter", found="is valid")
        if repository.credentials is not None and not self._check_token(checks, repository, repository.credentials):
            return checks
        if self.deadline.minus(LAST_REQUEST_SECONDS).is_past():
            todo = "ask for the repository by its name, or on a host with the mount"
            checks.unknown(f"{name}: remote", found="there was no time left to ask it", todo=todo)
            return checks
        todo = "see that the url is right and reachable, and that the token may read the repository"
        with checks.step(f"{name}: remote", todo=todo):
            self._check_remote(checks, repository)
        return checks

    def _check_token(self, checks: CheckList, repository: Repository, credentials: str) -> bool:
        """Check the repository's token; return whether it can be read."""
        name, found = repository.full_name, CheckList()
        below = f"{self.settings.parameter_prefix}/credentials"
        todo = f"put a token for the repository and its host: --type SecureString --name {below}/NAME"
        with found.step(f"{name}: token", todo=todo):
            self.parameters.token_of(repository)
            problems = self.parameters.diagnose(credentials)
            if problems:
                found.ok(f"{name}: token", found=" ".join(problems), todo="put it again, without that")
            else:
                found.ok(f"{name}: token", found="can be read")
        checks.extend(found)
        return found.are_well()

    def _check_remote(self, checks: CheckList, repository: Repository) -> None:
        name = repository.full_name
        remote = self.deliverer.remote(repository, self.parameters.token_of(repository), self.deadline)
        refs = remote.refs(list(ref_prefixes(repository)), with_head=needs_default_branch(repository))
        checks.ok(f"{name}: remote", found=f"answers, with {len(refs.tips)} refs")
        self._check_clock(checks, name, remote.date)
        # Raises where the default branch's name cannot be a path.
        targets = targets_in(repository, refs.tips, refs.head)
        self._check_owners(checks, name, [TargetDrift(each.path, each.ref, None, is_behind=False) for each in targets])
        _check_rules(checks, repository, refs)
        self._check_left_over(checks, repository, refs)
        if needs_default_branch(repository) and refs.head is None:
            todo = "push something, or name refs in `publish`"
            checks.wrong(f"{name}: remote", found="has no default branch", todo=todo)

    def _check_left_over(self, checks: CheckList, repository: Repository, refs: RemoteRefs) -> None:
        """Name the published paths that no push reaches any more, after the default branch was renamed, say."""
        name = repository.full_name
        with checks.step(f"{name}: targets", todo="see what the mount is missing: the checks above"):
            for target in self.deliverer.compare(repository, refs).left_over:
                todo = (
                    "let its readers go to the new path, or give the rule this path; then move the directory away"
                    f" (what is published where: git2efs status {name})"
                )
                checks.wrong(
                    f"{name}: targets",
                    found=f"{target.path} {left_over_sentence(repository, target.ref, refs.head)}",
                    todo=todo,
                )

    def _check_owners(self, checks: CheckList, name: str, targets: Sequence[TargetDrift]) -> None:
        """Name the targets that another repository has: a repository that was renamed meets those of its old name."""
        for status in self.operations.target_statuses(name, targets):
            if status.published_from is None:
                continue
            previous = status.published_from
            checks.wrong(
                f"{name}: {status.path}",
                found=f"is published from {previous}: {name} cannot publish there",
                todo=f"if {previous} was renamed to {name}: git2efs take-over {name} --from {previous}; "
                "else give one of them another path",
            )

    def _check_clock(self, checks: CheckList, name: str, date: str | None) -> None:
        """Compare the remote's Date header with this host's clock; pass over a missing or unreadable one."""
        try:
            skew = parsedate_to_datetime(date or "").timestamp() - self.clock()
        except ValueError:
            return
        if abs(skew) > MAX_SKEW_SECONDS:
            todo = "correct the clock of this host: AWS refuses requests from one that is minutes off"
            checks.wrong(f"{name}: clock", found=f"the remote's is {skew:+.0f} s from this host's", todo=todo)


def _check_rules(checks: CheckList, repository: Repository, refs: RemoteRefs) -> None:
    """Check that each rule's ref is on the remote."""
    for number, rule in enumerate(repository.publish):
        is_there = rule.ref is None or is_pattern(rule.ref) or rule.ref in refs.tips
        if rule.is_latest:
            is_there = is_there and newest(refs.tips, rule.ref or "", prereleases=rule.prereleases) is not None
        if not is_there:
            checks.wrong(
                f"{repository.full_name}: publish[{number}]",
                found=f"the remote has no {rule.ref}",
                todo="push it, or put the parameter right",
            )


def _several(paths: Sequence[str]) -> str:
    """Name the first paths, or owners, and how many more there are."""
    more = len(paths) - _MAX_PATHS
    return ", ".join(paths[:_MAX_PATHS]) + (f" and {more} more" if more > 0 else "")


def _valid(repositories: Sequence[NamedRepository]) -> list[Repository]:
    return [each for _, each in repositories if isinstance(each, Repository)]
