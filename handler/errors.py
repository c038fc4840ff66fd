"""Every way in which a delivery can fail, as one tree below Git2EfsError.

A leaf's `reason` is stable: a dimension, and in the answer. Its message, for the log, has no secret, body or signature.
    ├── Rejected                 the request itself is refused; nothing was touched
    │   ├── Malformed 400, SignatureInvalid 401, RepositoryUnknown 404, TargetUnknown 404
    │   └── ReleaseUnusable 409, BodyTooLarge 413, MediaTypeUnsupported 415
    ├── Transient                503, passes by itself: try again
    │   ├── ParametersUnavailable, PublisherUnavailable, QueueUnavailable, RemoteUnavailable, CommitNotFound, RefLags
    │   └── LockTimeout, LockLost, MountUnavailable, MirrorDamaged, ReleasesInGrace, TargetRetiring, OutOfTime,
    │       CopyBusy, TooManyOpenFiles
    └── Stalled                  500, needs a person
        ├── ConfigurationInvalid, SecretUnusable, PublisherRefused, RemoteRefused, RemoteUnsupported, RemoteUntrusted
        ├── PackInvalid, PackTooLarge, HistoryTooDeep, ObjectTooLarge, TreeTooLarge, TreeUnsafe, NotACommit
        ├── SubdirectoryMissing, TargetOccupied, TooManyTargets, ObjectCollides, MountFull
        └── CopyUnusable, LocalChanges, ReplayConflict, Unexpected
"""


class Git2EfsError(Exception):
    """The root: `reason` (a dimension, snake case), `status` (HTTP) and whether the failure passes by itself."""

    reason, status, is_transient = "unexpected", 500, False


class Rejected(Git2EfsError):
    """The request is refused before anything was read from or written to the mount."""

    reason, status = "rejected", 400


class Malformed(Rejected):
    """The event, a header or the payload is not what API Gateway and GitHub send."""

    reason = "malformed"


class SignatureInvalid(Rejected):
    """The signature is missing, not understood, or not made with the secret over these bytes."""

    reason, status = "signature_invalid", 401


class RepositoryUnknown(Rejected):
    """No parameter names the repository; the answer says no more than that."""

    reason, status = "repository_unknown", 404


class TargetUnknown(Rejected):
    """An operator named a target or repository that is not on the mount, or not as git2efs makes them."""

    reason, status = "target_unknown", 404


class ReleaseUnusable(Rejected):
    """The release to roll back to is missing, or was changed since it was published; the message lists all releases."""

    reason, status = "release_unusable", 409


class BodyTooLarge(Rejected):
    """The body is over the bound, and was not read."""

    reason, status = "body_too_large", 413


class MediaTypeUnsupported(Rejected):
    """The Content-Type is neither application/json nor application/x-www-form-urlencoded."""

    reason, status = "media_type_unsupported", 415


class Transient(Git2EfsError):
    """The failure passes by itself: the next delivery, redelivery or schedule does the work."""

    reason, status, is_transient = "transient", 503, True


class ParametersUnavailable(Transient):
    """Parameter Store did not answer (throttled, unreachable)."""

    reason = "parameters_unavailable"


class PublisherUnavailable(Transient):
    """The publisher function did not answer (throttled, killed, of another version during a deployment)."""

    reason = "publisher_unavailable"


class QueueUnavailable(Transient):
    """The queue did not take the message, or did not answer (throttled, unreachable)."""

    reason = "queue_unavailable"


class RemoteUnavailable(Transient):
    """The remote did not answer in time, answered 429 or 5xx, or broke off."""

    reason = "remote_unavailable"


class CommitNotFound(Transient):
    """The remote does not have the pushed commit yet, neither by its ref nor by its id."""

    reason = "commit_not_there"


class RefLags(Transient):
    """The remote's ref does not confirm the pushed commit: it lags behind its webhook, or the payload is not true."""

    reason = "ref_lags"


class LockTimeout(Transient):
    """Another run held the repository's lock until the deadline."""

    reason = "lock_timeout"


class LockLost(Transient):
    """The run lost the repository's lock while it was stopped, and another run holds it, or held it since."""

    reason = "lock_lost"


class MountUnavailable(Transient):
    """A file operation on the mount failed in a way that passes (EIO, ESTALE, ETIMEDOUT, ...)."""

    reason = "mount_unavailable"


class TooManyOpenFiles(Transient):
    """The process has no file descriptor left (EMFILE, ENFILE); the mount itself did nothing wrong."""

    reason = "too_many_open_files"


class ReleasesInGrace(Transient):
    """A burst of pushes made as many releases as are allowed; the next one waits until the oldest's grace ends."""

    reason = "releases_in_grace"


class TargetRetiring(Transient):
    """Where the target's path leads through, a branch that is gone is still published: it is retired first."""

    reason = "target_retiring"


class OutOfTime(Transient):
    """The run stopped before its deadline; the next one continues from what it did."""

    reason = "out_of_time"


class CopyBusy(Transient):
    """Git or another tool holds a lock of the working copy."""

    reason = "copy_busy"


class MirrorDamaged(Transient):
    """An object that the mirror should hold is missing or broken; the mirror is set aside and fetched afresh."""

    reason = "mirror_damaged"


class Stalled(Git2EfsError):
    """The failure needs a person: trying again changes nothing until something is repaired."""


class ConfigurationInvalid(Stalled):
    """The environment or a repository's parameter is wrong; the message lists every problem."""

    reason = "configuration_invalid"


class SecretUnusable(Stalled):
    """The webhook secret (or a token) is missing or empty: nothing can be verified with it."""

    reason = "secret_unusable"


class PublisherRefused(Stalled):
    """The publisher function may not be invoked, is not there, or does not take what it is sent."""

    reason = "publisher_refused"


class RemoteRefused(Stalled):
    """The remote answered 401, 403 or 404: no such repository, or the credentials do not open it."""

    reason = "remote_refused"


class RemoteUnsupported(Stalled):
    """The remote does not speak what a fetch needs (smart HTTP, sha1 objects)."""

    reason = "remote_unsupported"


class RemoteUntrusted(Stalled):
    """The remote's certificate is not valid, or not signed by an authority that is known here."""

    reason = "remote_untrusted"


class PackInvalid(Stalled):
    """The remote sent no valid pack, or one whose objects do not match their ids."""

    reason = "pack_invalid"


class PackTooLarge(Stalled):
    """The remote sent more than `max_pack_bytes`."""

    reason = "pack_too_large"


class HistoryTooDeep(Stalled):
    """A working copy's local commits need more history than is fetched by itself; the message says what to do."""

    reason = "history_too_deep"


class ObjectTooLarge(Stalled):
    """An object has more than `max_object_bytes`; it was not inflated."""

    reason = "object_too_large"


class ObjectCollides(Stalled):
    """The remote sent an object whose id belongs to another content, which was there first: a collision of SHA-1."""

    reason = "object_collides"


class TreeTooLarge(Stalled):
    """The files of the commit's tree have more than `max_tree_bytes` together; nothing of the tree was written."""

    reason = "tree_too_large"


class TreeUnsafe(Stalled):
    """The commit's tree holds a path or a link that must not be written; nothing of the tree was written."""

    reason = "tree_unsafe"


class SubdirectoryMissing(Stalled):
    """The commit's tree has no directory where the rule's `subdirectory` is; what was published stays."""

    reason = "subdirectory_missing"


class NotACommit(Stalled):
    """The ref names a blob or a tree (by a tag, most likely): there is nothing to check out."""

    reason = "not_a_commit"


class TargetOccupied(Stalled):
    """Something at the target's path is not ours, or belongs to another repository or ref."""

    reason = "target_occupied"


class TooManyTargets(Stalled):
    """The repository has as many targets as `max_targets` allows, and this would be one more."""

    reason = "too_many_targets"


class CopyUnusable(Stalled):
    """The repository at the path cannot be pulled into: it has another remote or branch, an unfinished merge, ..."""

    reason = "copy_unusable"


class LocalChanges(Stalled):
    """Uncommitted, untracked or ignored files of the working copy are in the way; the message names them."""

    reason = "local_changes"


class ReplayConflict(Stalled):
    """A local commit conflicts with the new tip; the message names it and the paths. The copy is as it was."""

    reason = "replay_conflict"


class MountFull(Stalled):
    """The mount has no room or quota left (ENOSPC, EDQUOT), or is read-only (EROFS, EACCES, EPERM)."""

    reason = "mount_full"


class Unexpected(Stalled):
    """A defect: the exception's type is in the log, its text is not."""
