"""How much history a pull needs where the copy's is cut, and which fetch brings it.

Local commits are compared with all that upstream has since: what it has already is dropped, and a commit that is not
known to be there would be made again. So no history may be cut between what is here and the new tip.
"""

from collections import deque
from collections.abc import Set

from handler.errors import HistoryTooDeep
from handler.exchange.remote import DEEPENINGS, FetchQuery
from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.rebase.commit_graph import CommitGraph
from handler.mount.working_copy.rebase.replay import graph_of


def deepening_query(store: CopyStore, have: str | None, tip: str, deeper_than: int) -> FetchQuery | None:
    """Return the next fetch of `tip`'s history, to more than `deeper_than` commits; None where it leads to `have`.

    Raises HistoryTooDeep where that is more than is fetched by itself, MirrorDamaged.
    """
    shallow = store.writer.shallow_commits()
    if have is None or not shallow:
        return None
    graph = graph_of(MemoryOverlay(store), shallow)
    new = graph.commits_only_in(tip.encode(), have.encode())
    if new.isdisjoint(shallow):
        return None
    reached = max(deeper_than, _depth_of_cut(graph, tip.encode(), shallow))
    deepen = next((each for each in DEEPENINGS if each > reached), None)
    if deepen is None:
        raise HistoryTooDeep(
            f"local commits are to go onto {tip}, and {reached} commits of its history do not all lead to {have}, which"
            " is here"
        )
    return FetchQuery(tip, have, deepen, tuple(sorted(each.decode() for each in shallow)), (tip,))


def _depth_of_cut(graph: CommitGraph, tip: bytes, shallow: Set[bytes]) -> int:
    """Return how many commits lead from the tip to the first cut, both of them among these."""
    seen, waiting = {tip}, deque([(tip, 1)])
    while waiting:
        commit, depth = waiting.popleft()
        if commit in shallow:
            return depth
        for parent in graph.parents(commit):
            if parent not in seen:
                seen.add(parent)
                waiting.append((parent, depth + 1))
    return 0
