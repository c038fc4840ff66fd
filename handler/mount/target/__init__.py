"""One target on the mount: what both modes share. Raises OSError for what the mount answers.

layout      where things are: names and paths, frozen
directory   what is published there, and its record
record      `published.json`
registry    which targets a repository has
run         the context of one run
mode        what a mode does for a run: prepare, flip, tidy, retire
ending      how a run ends: its record and its outcome
notify      the release's event, emitted before the record
hold        an operator keeps a target where it is
"""
