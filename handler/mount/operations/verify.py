"""Compare a target with its commits, every file of every release; repair what readers read where that is asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from handler.deadline import Deadline
from handler.errors import OutOfTime
from handler.exchange.operations import MountedTarget
from handler.model import Outcome, OutcomeKind
from handler.mount.fs.errno_map import as_failure
from handler.mount.git.mirror import StorePool
from handler.mount.maintenance.audit import AuditFindings, ReleaseAudit
from handler.mount.maintenance.context import RepositoryContext
from handler.mount.operations.targets import open_target
from handler.mount.releases.inventory import list_releases
from handler.mount.target.directory import TargetDirectory
from handler.outcome import outcome_of
from handler.settings import Settings


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies targets on one mount. `say` hears which release is being compared."""

    settings: Settings
    mirrors: StorePool
    clock: Callable[[], float]
    say: Callable[[str], None]

    def verify(self, target: MountedTarget, *, is_repairing: bool, deadline: Deadline) -> Outcome:
        """Compare what is published and what is kept. Raises no Exception: a failure is the outcome.

        Returns `unchanged` with `verified`, or with `drifted` where something differs and was left as it is. A repair
        ends as daily maintenance does: `published` with `repaired`, or `unchanged` with `set_aside`. Returns `failed`
        with `out_of_time` where the deadline came first.
        """
        findings = AuditFindings()
        outcome = Outcome(kind=OutcomeKind.UNCHANGED, reason="verified", repository=target.repository, path=target.path)
        try:
            directory = open_target(self.settings.mount, target, self.clock)
            if directory.is_copy:
                # Its owner may change it, and git itself says what was changed.
                return replace(outcome, kind=OutcomeKind.IGNORED, reason="working_copy")
            published = directory.read_published()
            if published.commit is not None:
                ref = published.record.ref if published.record is not None else None
                outcome = replace(outcome, ref=ref, commit=published.commit, previous_commit=published.commit)
            context = RepositoryContext(
                name=target.repository,
                settings=self.settings,
                mirrors=self.mirrors,
                clock=self.clock,
                deadline=deadline,
            )
            for commit in _releases_of(directory, published.release):
                self._audit(context, directory, commit, findings, is_repairing=is_repairing)
        except Exception as error:
            failed = outcome_of(as_failure(error))
            outcome = replace(failed, repository=outcome.repository, ref=outcome.ref, path=outcome.path)
        else:
            outcome = _concluded(outcome, findings)
        return replace(outcome, counts=findings.counts, notes=tuple(findings.notes))

    def _audit(
        self,
        context: RepositoryContext,
        directory: TargetDirectory,
        commit: str,
        findings: AuditFindings,
        *,
        is_repairing: bool,
    ) -> None:
        self.say(f"comparing {directory.path} at {commit}")
        audit = ReleaseAudit(
            context=context, directory=directory, commit=commit, findings=findings, is_repairing=is_repairing
        )
        try:
            audit.run()
        except OutOfTime:
            raise OutOfTime(f"{directory.path} at {commit} and what comes after it was not compared") from None


def _releases_of(directory: TargetDirectory, current: str | None) -> Iterator[str]:
    """Yield the published release, then the retired ones, the last retired first."""
    if current is not None:
        yield current
    retired = [each for each in list_releases(directory).releases if each.commit != current]
    yield from (each.commit for each in sorted(retired, key=lambda each: -each.retired_at))


def _concluded(outcome: Outcome, findings: AuditFindings) -> Outcome:
    if findings.is_repaired:
        return replace(outcome, kind=OutcomeKind.PUBLISHED, reason="repaired")
    if findings.is_any_set_aside:
        return replace(outcome, reason="set_aside")
    if findings.is_any_wrong:
        return replace(outcome, reason="drifted")
    return outcome
