"""The doctor: everything that publishing needs, each looked at by itself, with what to do where it is wrong.

Nothing is published, and no secret is shown; on the mount only a directory of its own is written, and removed.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from handler.config.names import is_pattern
from handler.config.overlaps import overlaps_between
from handler.config.targets import needs_default_branch, ref_prefixes, targets_in
from handler.config.versions import newest
from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import ConfigurationInvalid
from handler.exchange.checks import Check, Verdict, carried_out, ok, unknown, wrong
from handler.model import Repository
from handler.mount.operations.checks import MOST_SKEW_SECONDS, mount_checks
from handler.network.aws.parameters import Parameters
from handler.network.operations.checks import bus_checks, queue_checks, secret_checks
from handler.network.remote.client import HttpRemote
from handler.settings import Settings

_IN_FLIGHT = 16
_REMOTE_TODO = "see that the url is right and reachable (a NAT, for GitHub), and that the token may read the repository"


@dataclass(frozen=True, slots=True)
class Doctor:
    """Looks at one stack. `remote` gives a repository's remote, with its token; `say` hears what is being looked at."""

    settings: Settings
    parameters: Parameters
    remote: Callable[[Repository], HttpRemote]
    clock: Callable[[], float]
    say: Callable[[str], None]
    deadline: Deadline = NO_DEADLINE
    """From then on no further remote is asked."""

    def checks(self, subject: str | None) -> Iterator[Check]:
        """Yield all checks; of the repositories only `subject`, None: every one. Never raises an Exception."""
        yield ok("settings", found=f"parameters below {self.settings.parameter_prefix}, mount {self.settings.mount}")
        self.say("looking at the mount")
        yield from mount_checks(self.settings.mount, self.clock)
        listed: list[tuple[str, Repository | ConfigurationInvalid]] = []
        self.say("reading the parameters")
        todo = (
            "see that the role may read the parameters, and that Parameter Store can be reached (a NAT, or an endpoint)"
        )
        yield from carried_out("parameters", lambda: self._list(listed), todo)
        valid = [each for _, each in listed if isinstance(each, Repository)]
        asked = [each for each in listed if subject in (None, each[0])]
        if subject is not None and not asked:
            name = f"{self.settings.parameter_prefix}/repositories/{subject}"
            yield wrong(
                "repository", found=f"there is no parameter {name}", todo=f"put it, as {{}}, to publish {subject}"
            )
        yield from secret_checks(
            self.settings, self.parameters, [each for _, each in asked if isinstance(each, Repository)]
        )
        yield from queue_checks(self.settings)
        yield from bus_checks(self.settings)
        for sentence in overlaps_between(valid):
            yield wrong(
                "places", found=sentence, todo="give one of them another path: the later one's pushes are refused"
            )
        self.say("asking the remotes")
        with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="doctor") as pool:
            for checks in pool.map(lambda each: list(self._repository(*each)), asked):
                yield from checks

    def _list(self, listed: list[tuple[str, Repository | ConfigurationInvalid]]) -> Iterator[Check]:
        listed += self.parameters.repositories()
        name = f"{self.settings.parameter_prefix}/repositories"
        if listed:
            yield ok("parameters", found=f"repositories below {name}: {len(listed)}")
        else:
            todo = f"add a repository: aws ssm put-parameter --name {name}/OWNER/NAME --type String --value '{{}}'"
            yield wrong("parameters", found=f"no repository below {name}", todo=todo)

    def _repository(self, name: str, repository: Repository | ConfigurationInvalid) -> Iterator[Check]:
        if isinstance(repository, ConfigurationInvalid):
            yield wrong(f"{name}: parameter", found=str(repository), todo="put the parameter right: README, Configure")
            return
        yield ok(f"{name}: parameter", found="is valid")
        if repository.credentials is not None:
            todo = f"put a token for the repository: --type SecureString --name {repository.credentials}"
            token = list(carried_out(f"{name}: token", lambda: self._token(repository), todo))
            yield from token
            if any(each.verdict is Verdict.WRONG for each in token):
                return
        if self.deadline.is_past():
            todo = "ask for the repository by its name, or on a host with the mount"
            yield unknown(f"{name}: remote", found="there was no time left to ask it", todo=todo)
            return
        yield from carried_out(f"{name}: remote", lambda: self._remote(repository), _REMOTE_TODO)

    def _token(self, repository: Repository) -> Iterator[Check]:
        assert repository.credentials is not None
        self.parameters.token(repository.credentials)
        problems = self.parameters.diagnose(repository.credentials)
        if problems:
            yield ok(f"{repository.full_name}: token", found=" ".join(problems), todo="put it again, without that")
        else:
            yield ok(f"{repository.full_name}: token", found="can be read")

    def _remote(self, repository: Repository) -> Iterator[Check]:
        name = repository.full_name
        remote = self.remote(repository)
        refs = remote.refs(list(ref_prefixes(repository)), with_head=needs_default_branch(repository))
        yield ok(f"{name}: remote", found=f"answers, with {len(refs.tips)} refs")
        yield from self._clock(name, remote.date)
        targets_in(repository, refs.tips, refs.head)  # says what of the default branch's name cannot be
        for number, rule in enumerate(repository.publish):
            is_there = rule.ref is None or is_pattern(rule.ref) or rule.ref in refs.tips
            if not is_there or (
                rule.is_latest and newest(refs.tips, rule.ref or "", prereleases=rule.prereleases) is None
            ):
                todo = "push it, or put the parameter right"
                yield wrong(f"{name}: publish[{number}]", found=f"the remote has no {rule.ref}", todo=todo)
        if needs_default_branch(repository) and refs.head is None:
            yield wrong(
                f"{name}: remote", found="has no default branch", todo="push something, or name refs in `publish`"
            )

    def _clock(self, name: str, date: str | None) -> Iterator[Check]:
        try:
            skew = parsedate_to_datetime(date or "").timestamp() - self.clock()
        except ValueError:
            return  # no date, or none that can be read: some servers have none
        if abs(skew) > MOST_SKEW_SECONDS:
            todo = "see to the clock of this host: AWS refuses requests from one that is minutes off"
            yield wrong(f"{name}: clock", found=f"the remote's is {skew:+.0f} s from this host's", todo=todo)


def is_well(checks: Sequence[Check]) -> bool:
    """Whether nothing is wrong."""
    return all(each.verdict is not Verdict.WRONG for each in checks)
