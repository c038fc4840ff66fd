"""Publish a target as a git working copy: what `git pull --rebase` does, without its dangers.

Two names are for other rooms: `pull.open_session`, which `reconcile` calls, and `maintain.maintain_copy`. The story of
a pull, under the repository's lock:

1. recover: if a killed run left a journal, finish its pull, or restore the old commit.
2. fetch the tip into `.git/objects`, and update the remote-tracking ref, whatever comes of the rest.
3. plan: stay, fast-forward, or replay the local commits onto the tip, in memory. A conflict ends here.
4. find obstructions: local changes at the paths that the pull changes. Refuse them, or reapply them (autostash).
5. objects and journal: write the replayed commits, then the journal. From here on a kill is recovered from.
6. files: each is staged and renamed into its place; removals come last.
7. index: replace it, with a valid cache tree, so that `git status` reads no file.
8. refs: append to the reflogs, then move the branch. As soon as it moves, the pull is done.
9. record: `published.json`, and the event. That is the caller's part.
10. If a step after 5 fails, undo. If time is up, or undoing fails, journal and `index.lock` stay for the next run.

Every function that reads or writes the mount raises OSError for what the mount answers. Docstrings name the other
errors.

The map:

    pull            the session that `reconcile` drives; the steps above in order
    maintain        daily maintenance: repack, sweep
    clone_session   the session of the first run, and what both sessions share
    clone           make the copy beside its place, and rename it
    deepen          how much history a replay needs where the copy's is cut
    plan            what happens to the branch; which tree is safe to check out
    local_changes   what changes in the worktree, and what obstructs it
    autostash       reapply uncommitted changes, or keep them as a stash
    apply           write files and index; find out how far a killed run came
    branch          the last step: reflogs and branch
    tracking        the remote-tracking ref
    journal         what a run is about to do, on disk
    recovery        finish or undo what a killed run began
    open_copy       an open copy: objects, refs, index, and the lock that keeps git out
    worktree        its files: status, read, write by a rename, remove
    paths           its paths
    parallel        many paths at a time, if the mount is slow
    overlay         new objects in memory over the store's
    gitdir/         `.git`, where other people's git works too
        validate       can this repository be pulled into?
        config_file, copy_config, remote_urls    its configuration
        init           a new repository
        copy_store, lazy_packs, loose            objects: packs, loose ones, alternates
        staged_writer  how packs and `shallow` are written
        refs, ref_logs                           refs, and their reflogs
        locks          git's lock files
        names          bytes that need not be UTF-8
        staging_area   where our files lie until a rename
    index/          git's index
        index_file     read, look up, rewrite
        scan, version_4, entry                   its binary format
        cache_tree     the trees that it knows to equal
    rebase/         local commits onto a new tip
        replay         decide and replay
        commit_graph   ancestors, merge bases, fork points
        patches        patch ids: what is upstream already
        commits        parse and write commits
        reflog_lines   what git would log
    merge/          git's `ort` merge
        merge_trees, merge_entries               trees, and one path
        renames, similarity, apply_renames       renames
        contents, histogram, myers, hunk         lines
        attributes     which files are not merged by lines
        trees, tree_draft                        read and build trees
        work_budget    a bound on work that a repository decides
"""
