"""Publish a target as releases: complete trees, and one link that leads to the current one.

publish     a run: build, flip, prune
strategy    which directory becomes the next release, and which go; pure
build       recycle a retired release, or write the tree whole
filters     what of its commit each release is
inventory   which releases there are; a release's clock and seal; the flip
times       give what readers saw otherwise a new mtime, where a release is used as it stands
prune       remove what is past its grace; retire: remove a target whose ref is gone
verify      compare a release with its commit; repair: bring it back to it
"""
