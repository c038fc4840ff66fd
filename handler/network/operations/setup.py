"""Set a repository up: its parameter, the webhook's secret, the webhook on its forge. Each step may be done again.

An owner's name alone sets up the rule for all its repositories, and an organisation's webhook.

What is there already is kept unless the operator says to replace it. No secret and no token is in what is returned.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from handler.config.names import is_owner
from handler.config.owners import SAMPLE, parse_owner_rule
from handler.config.repository import parse_repository
from handler.config.ssh_url import web_url
from handler.errors import ConfigurationInvalid, Malformed, RepositoryUnknown
from handler.model import Forge, Repository
from handler.network.forges.hooks import Hooks
from handler.network.operations.stack import ParameterEditor

MAX_PARAMETER_BYTES = 4096
"""A standard parameter in Parameter Store holds as much."""
_SECRET_BYTES = 32

Step = dict[str, str]
"""`step`, what was `done` (put, replaced, kept, made, updated), and `name`: the parameter's, or the webhook's URL."""


@dataclass(slots=True, kw_only=True)
class Setup:
    """Sets repositories up on one stack. `token_of` returns the token for a repository's host.

    `webhook_url` is the address that a forge is to send to; empty: nobody knows it. Where it ends with a forge's route,
    the end is replaced by the route of the repository's forge. Every method raises Git2EfsError,
    and AccessDenied.
    """

    parameters: ParameterEditor
    prefix: str
    webhook_url: str
    token_of: Callable[[Repository], str]
    steps: list[Step] = field(default_factory=list)
    """What was done so far; also where a later step failed."""

    def add(self, full_name: str, text: str | None, *, is_replacing: bool, with_webhook: bool) -> None:
        """Put the parameter of a repository or an owner (None: `{}`), a secret if there is none; make the webhook."""
        check_parameter(full_name, text)
        name = self._repository_name(full_name)
        found = self.parameters.read(name)
        is_kept = found is not None and (text is None or _is_same(found, text))
        if found is not None and not is_kept and not is_replacing:
            raise Malformed(f"{full_name} has another parameter already: --replace puts yours in its place")
        wanted = found if is_kept and found is not None else text or "{}"
        repository = _parsed(full_name, wanted)
        if is_owner(full_name) and repository.own_secret and with_webhook:
            raise Malformed(
                f"with own_secret each repository has a webhook of its own: --no-webhook, and then for each: "
                f"git2efs webhook {full_name}/NAME"
            )
        # Everything that may be missing is asked for before the first step.
        hooks = self._hooks(full_name, repository) if with_webhook else None
        if not is_kept:
            self.parameters.write(name, wanted, is_secure=False)
        self._note("parameter", "kept" if is_kept else "replaced" if found is not None else "put", name)
        if is_owner(full_name) and repository.own_secret:
            return
        secret = self._ensure_secret(repository)
        if hooks is not None:
            self._make_webhook(repository, hooks, secret)

    def secret(self, whose: str | None, *, is_replacing: bool) -> None:
        """Make and put a secret: the common one (None, which is GitHub's), another forge's, or a repository's own."""
        name = self._secret_name(whose)
        found = self.parameters.read(name)
        if found is not None and not is_replacing:
            raise Malformed(
                f"{name} is there already: --replace puts a new one, and the old one still verifies a while"
            )
        self.parameters.write(name, secrets.token_hex(_SECRET_BYTES), is_secure=True)
        self._note("secret", "put" if found is None else "replaced", name)

    def webhook(self, full_name: str) -> None:
        """Make the repository's webhook, or give the one that is there the secret of now."""
        repository = self._find(full_name)
        if is_owner(full_name) and repository.own_secret:
            raise Malformed(f"with own_secret each repository has a webhook of its own: {full_name}/NAME")
        hooks = self._hooks(full_name, repository)
        self._make_webhook(repository, hooks, self._ensure_secret(repository))

    def _find(self, full_name: str) -> Repository:
        """Return the repository by its own parameter or its owner's rule; of an owner, one that the rule describes."""
        name, owner = self._repository_name(full_name), full_name.partition("/")[0]
        text = self.parameters.read(name)
        if text is not None:
            return _parsed(full_name, text)
        text = None if is_owner(full_name) else self.parameters.read(self._repository_name(owner))
        if text is not None and (rule := parse_owner_rule(owner, text)).includes(full_name):
            return rule.repository(full_name)
        raise RepositoryUnknown(f"there is no parameter {name}: git2efs add {full_name}")

    def _ensure_secret(self, repository: Repository) -> str:
        """Return the secret that signs the repository's deliveries; put one if there is none."""
        whose = repository.full_name if repository.own_secret else secret_of(repository.forge)
        name = self._secret_name(whose)
        found = self.parameters.read(name)
        if found is not None:
            self._note("secret", "kept", name)
            return found
        self.secret(whose, is_replacing=False)
        made = self.parameters.read(name)
        if made is None:
            raise ConfigurationInvalid(f"{name} was put, and is not there")
        return made

    def _hooks(self, full_name: str, repository: Repository) -> Hooks:
        if is_owner(full_name) and repository.forge is not Forge.GITHUB:
            raise Malformed(
                f"a webhook for all of {full_name} is made on {repository.forge.label} itself: --no-webhook"
            )
        if not self.webhook_url:
            raise Malformed(
                f"nobody knows the webhook's address here: name the one that {repository.forge.label} reaches (--url)"
            )
        at_forge = replace(repository, url=web_url(repository.url))
        return Hooks(at_forge, self.token_of(at_forge), is_of_owner=is_owner(full_name))

    def _make_webhook(self, repository: Repository, hooks: Hooks, secret: str) -> None:
        url = url_of(self.webhook_url, repository.forge)
        if repository.own_secret:
            url = f"{url}/{repository.full_name}"
        self._note("webhook", "made" if hooks.ensure(url, secret) else "updated", url)

    def _note(self, step: str, done: str, name: str) -> None:
        self.steps.append({"step": step, "done": done, "name": name})

    def _repository_name(self, full_name: str) -> str:
        return f"{self.prefix}/repositories/{full_name}"

    def _secret_name(self, whose: str | None) -> str:
        return f"{self.prefix}/webhook-secret" + (f"s/{whose}" if whose is not None else "")


def secret_of(forge: Forge) -> str | None:
    """Return whose secret a forge's common webhooks have; None is the common one."""
    return None if forge is Forge.GITHUB else str(forge)


def url_of(webhook_url: str, forge: Forge) -> str:
    """Return the address for a forge's webhooks, from that of any forge's."""
    before, _, last = webhook_url.rpartition("/")
    return f"{before}/{forge}" if last in frozenset(Forge) else webhook_url


def check_parameter(full_name: str, text: str | None) -> None:
    """Raise Malformed, naming every problem, unless `text` (None: `{}`) can be the repository's or the owner's."""
    if text is not None and len(text.encode()) > MAX_PARAMETER_BYTES:
        raise Malformed(f"the parameter has more than {MAX_PARAMETER_BYTES} bytes")
    try:
        _parsed(full_name, text or "{}")
    except ConfigurationInvalid as error:
        raise Malformed(str(error)) from None


def _parsed(full_name: str, text: str) -> Repository:
    """Return the repository that the text describes; of an owner's rule, one of any name."""
    if is_owner(full_name):
        return parse_owner_rule(full_name, text).repository(f"{full_name}/{SAMPLE}")
    return parse_repository(full_name, text)


def _is_same(one: str, other: str) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False
