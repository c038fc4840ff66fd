"""Compare targets with their commits, every file of every release; mend what readers read where that is asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import OutOfTime
from handler.model import Outcome, OutcomeKind
from handler.mount.fs.errno_map import as_failure
from handler.mount.git.store_pool import StorePool
from handler.mount.maintenance.audit import AuditFindings, ReleaseAudit, RepositoryContext
from handler.mount.operations.targets import MountedTarget
from handler.mount.releases.inventory import list_releases
from handler.outcome import outcome_of
from handler.settings import Settings


@dataclass(frozen=True, slots=True)
class Verifier:
    """Compares targets on one mount. `say` hears what is being compared."""

    settings: Settings
    mirrors: StorePool
    clock: Callable[[], float]
    say: Callable[[str], None]

    def verify(self, standing: MountedTarget, *, is_repairing: bool, deadline: Deadline = NO_DEADLINE) -> Outcome:
        """Compare what is published and what is kept; never raises an Exception.

        `unchanged` with `verified`, or with `drifted` where something differs and was left so; when repairing, as the
        daily chores: `published` with `repaired`, `unchanged` with `set_aside`. `failed` with `out_of_time` where the
        comparison did not come to its end.
        """
        findings = AuditFindings()
        about = Outcome(
            kind=OutcomeKind.UNCHANGED, reason="verified", repository=standing.repository, path=standing.path
        )
        try:
            about = self._verify(standing, about, findings, is_repairing=is_repairing, deadline=deadline)
        except Exception as error:
            failed = outcome_of(as_failure(error))
            about = replace(failed, repository=about.repository, ref=about.ref, path=about.path)
        return replace(about, counts=findings.counts, notes=tuple(findings.notes))

    def _verify(
        self,
        standing: MountedTarget,
        about: Outcome,
        findings: AuditFindings,
        *,
        is_repairing: bool,
        deadline: Deadline,
    ) -> Outcome:
        if standing.directory.paths.is_copy:
            # People may change it, and git tells them what they did.
            return replace(about, kind=OutcomeKind.IGNORED, reason="working_copy")
        premises = RepositoryContext(standing.paths, self.settings, self.mirrors, self.clock, deadline)
        found = standing.directory.read_published()
        if found.commit is not None:
            ref = found.record.ref if found.record is not None else None
            about = replace(about, ref=ref, commit=found.commit, previous_commit=found.commit)
        for commit in self._commits(standing, found.commit):
            self.say(f"comparing {standing.path} at {commit}")
            inspection = ReleaseAudit(premises, standing.directory, commit, findings, is_mending=is_repairing)
            try:
                inspection.run()
            except OutOfTime:
                raise OutOfTime(f"{standing.path} at {commit} and what comes after it was not compared") from None
        if findings.is_mended:
            return replace(about, kind=OutcomeKind.PUBLISHED, reason="repaired")
        if findings.is_any_set_aside or findings.is_any_wrong:
            return replace(about, reason="set_aside" if findings.is_any_set_aside else "drifted")
        return about

    def _commits(self, standing: MountedTarget, current: str | None) -> Iterator[str]:
        if current is not None:
            yield current
        retired = [each for each in list_releases(standing.directory.paths).releases if each.commit != current]
        yield from (each.commit for each in sorted(retired, key=lambda each: -each.retired_at))
