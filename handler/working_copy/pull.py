"""A run of one target that is a working copy, under its repository's lock: what `git pull --rebase` does.

    recover → fetch → decide → look what is in the way → objects, journal → files → index → refs → record
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from handler.efs.worktree import Worktree
from handler.errors import CopyUnusable, Git2EfsError, LocalChanges, MirrorDamaged, OutOfTime
from handler.git.adoption import CopyConfig, examine
from handler.git.commits import parse_commit
from handler.git.copy_store import CopyStore
from handler.git.differences import differences
from handler.git.history import History
from handler.git.index_file import IndexFile
from handler.git.locks import drop_lock, take_lock
from handler.git.objects import BLOB, COMMIT, TREE
from handler.git.overlay import Overlay
from handler.git.plan import plan_change
from handler.git.refs import Refs
from handler.git.reflog_lines import reflog_lines
from handler.git.replay import Decision, Kind, decide, replay
from handler.git.source import Known, Settled, Source
from handler.model import Counts, Durations, Outcome, OutcomeKind
from handler.recording import Recording, milliseconds_since, push_to_visible, reason_of
from handler.work import Work
from handler.working_copy import carrying
from handler.working_copy.changes import Changes, Glance, InTheWay, find_in_the_way, paths_to_find
from handler.working_copy.journal import Journal, remove_journal
from handler.working_copy.places import CopyPaths
