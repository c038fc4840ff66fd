"""A run of one target, under its repository's lock: fetch → plan → check out → flip → tell → record → prune."""

import time
from dataclasses import dataclass, replace
from functools import partial

from handler.config.targets import refuse_too_many
from handler.errors import Git2EfsError
from handler.model import Counts, Durations, Outcome, OutcomeKind, TreePlan
from handler.mount.fs.checkout import check_out
from handler.mount.fs.errno_map import as_failure
from handler.mount.fs.generation_cache import Releases
from handler.mount.git.fetch import Fetched, Fetcher, Have
from handler.mount.git.mirror import Mirror
from handler.mount.git.objects import BLOB, TREE
from handler.mount.git.plan import plan_change
from handler.mount.releases.build import BuildResult, ReleaseBuilder
from handler.mount.releases.inventory import Inventory, flip, list_releases
from handler.mount.releases.prune import prune, sweep
from handler.mount.releases.retire import retire
from handler.mount.target.recording import Recording, milliseconds_since, push_to_visible, reason_of
from handler.mount.target.run import Run


@dataclass(frozen=True, slots=True)
class Publishing:
    """A run of one target, with its mirror open; `about` is the outcome if there is nothing to do."""

    work: Run
    mirror: Mirror
    about: Outcome

    def publish(self, known: Releases | None) -> tuple[Outcome, Releases | None]:
        """Bring the target to what the remote says.

        `known` is what this process knows of the repository's targets, if nobody else worked on it since. Returns the
        outcome, and what is known now; None after trouble. Raises Git2EfsError, OSError.
        """
        path = self.work.target.path
        outcome, releases, is_sound = self._publish((known or {}).get(path))
        if not is_sound:
            return outcome, None
        others = {each: names for each, names in (known or {}).items() if each != path}
        return outcome, others if releases is None else {**others, path: releases}

    def _publish(self, known: frozenset[str] | None) -> tuple[Outcome, frozenset[str] | None, bool]:
        work, directory = self.work, self.work.directory
        started = time.perf_counter()
        looking = work.executor.submit(partial(list_releases, directory.paths, known))
        settled = self._settle()
        looked = looking.result()
        about = replace(
            self.about,
            counts=Counts(bytes_fetched=settled.bytes_fetched),
            durations=Durations(fetch_ms=milliseconds_since(started)),
        )
        if settled.commit is None:
            return retire(work, about), None, True
        if settled.commit == work.published.commit and looked.has(settled.commit):
            self._recording.record_confirmed(settled)
            is_swept = sweep(directory.paths, looked)
            return about, frozenset(each.commit for each in looked.releases) if is_swept else None, True
        return self._replace(settled.commit, settled, looked, about)

    @property
    def _recording(self) -> Recording:
        return Recording(self.work, self.mirror)

    def _settle(self) -> Fetched:
        work = self.work
        source = Fetcher(
            work.remote,
            self.mirror,
            work.repository.depth,
            work.settings.max_pack_bytes,
            work.settings.lag_seconds,
            work.check_time,
            work.clock,
            work.sleep,
        )
        record = work.published.record
        # The record of another ref at this path says nothing about when this one was pushed.
        pushed_at = record.pushed_at if record is not None and record.ref == work.target.ref else None
        known = Have(work.published.commit, pushed_at)
        return source.fetch(work.target.ref, work.trigger.push, known, is_side_by_side=not work.trigger.is_late)

    def _replace(
        self, wanted: str, settled: Fetched, looked: Inventory, about: Outcome
    ) -> tuple[Outcome, frozenset[str] | None, bool]:
        """Put the commit's tree in the place of what is published."""
        work, directory, previous = self.work, self.work.directory, self.work.published.commit
        started = time.perf_counter()
        work.begin(wanted)
        if previous is None:
            directory.refuse_nested()
            refuse_too_many(work.repository, work.registry.read(), work.target, work.settings.max_targets)
            work.registry.add(work.target.path)
        made = self._maker(wanted, looked).build(wanted)
        checkout_ms = milliseconds_since(started)
        started = time.perf_counter()
        flip(directory.paths, made.link)
        flipped_at = work.clock()
        counts = replace(
            about.counts,
            files_written=made.written.files,
            files_removed=made.removed,
            bytes_written=made.written.bytes,
        )
        self._recording.record_published(wanted, settled, flipped_at, counts)
        durations = replace(about.durations, checkout_ms=checkout_ms, publish_ms=milliseconds_since(started))
        standing, trouble = self._tidy(wanted, looked, made)
        outcome = replace(
            about,
            kind=OutcomeKind.PUBLISHED,
            reason=reason_of(settled, work.trigger.push),
            commit=wanted,
            counts=counts,
            durations=durations,
            push_to_visible_seconds=push_to_visible(work.trigger.push, settled, flipped_at),
            notes=_notes(looked, made) + trouble,
        )
        return outcome, standing, not trouble

    def _maker(self, wanted: str, looked: Inventory) -> ReleaseBuilder:
        work = self.work
        write = partial(
            check_out,
            read_blob=partial(self.mirror.read, kind=BLOB),
            workers=work.settings.checkout_workers,
            is_slow=work.is_slow,
            progress=partial(self._progress, f"{work.target.path} at {wanted}"),
        )
        return ReleaseBuilder(
            work.directory.paths,
            looked,
            work.published.commit,
            work.repository.grace_seconds,
            work.settings.burst_files,
            self._plan,
            write,
            work.clock,
            work.executor,
        )

    def _progress(self, about: str, done: int, total: int) -> None:
        self.work.progress(about, done, total)
        if done < total:
            self.work.check_time()

    def _tidy(self, wanted: str, looked: Inventory, made: BuildResult) -> tuple[frozenset[str] | None, tuple[str, ...]]:
        """Do what is not needed for the push to be visible. Its failures are notes: the tree is published."""
        work = self.work
        try:
            keep, grace = work.repository.keep_releases, work.repository.grace_seconds
            paths, previous = work.directory.paths, work.published.commit
            standing = prune(paths, wanted, previous, looked, made, work.clock(), grace, keep)
            self.mirror.maintain(work.registry.release_commits, keeps_history=work.repository.depth == 0)
        except (Git2EfsError, OSError) as error:
            return None, (f"after the flip: {as_failure(error)}",)
        return standing, ()

    def _plan(self, base: str | None, wanted: str) -> TreePlan:
        return plan_change(
            partial(self.mirror.read, kind=TREE),
            partial(self.mirror.read, kind=BLOB),
            None if base is None else self.mirror.tree_of(base),
            self.mirror.tree_of(wanted),
            allow_external_links=self.work.repository.allow_external_links,
        )


def _notes(looked: Inventory, made: BuildResult) -> tuple[str, ...]:
    submodules = tuple(f"{path!r} is a submodule: an empty directory" for path in made.submodules[:20])
    changed = tuple(
        f"releases/{each.commit} was changed by somebody else: it is not recycled"
        for each in looked.releases
        if not each.is_intact
    )
    return submodules + changed
