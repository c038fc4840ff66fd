"""Deliveries look like GitHub's."""

import json
from typing import Any
from urllib.parse import parse_qs

from local import github


def test_the_signature_is_the_one_of_githubs_documentation() -> None:
    """GitHub's published example: secret, body, signature."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert github.sign(b"Hello, World!", "It's a Secret to Everybody") == signature


def test_a_delivery_carries_githubs_headers() -> None:
    """Both signatures with a secret, none without."""
    signed = github.delivery_headers(b"{}", "s", delivery="d-1")
    assert signed["X-GitHub-Event"] == "push"
    assert signed["X-GitHub-Delivery"] == "d-1"
    assert signed["User-Agent"].startswith("GitHub-Hookshot/")
    assert signed["X-Hub-Signature"] == github.sign(b"{}", "s", "sha1")
    assert signed["X-Hub-Signature-256"] == github.sign(b"{}", "s")
    assert not [name for name in github.delivery_headers(b"{}", None) if "Signature" in name]


def test_a_form_carries_the_json_in_one_field() -> None:
    """Encoded so that every byte comes back."""
    payload: dict[str, Any] = {"text": "a=b&c+d %ä\n"}
    fields = parse_qs(github.encode(payload, github.FORM).decode("ascii"), strict_parsing=True)
    assert json.loads(fields["payload"][0]) == payload


def test_a_deleted_ref_has_no_head_commit() -> None:
    """As GitHub writes it: zeros after, null for the commit."""
    payload = github.push_payload("o/n", "refs/heads/x", "a" * 40, github.NO_COMMIT)
    assert (payload["deleted"], payload["head_commit"], payload["commits"]) == (True, None, [])
    assert github.push_payload("o/n", "refs/heads/x", github.NO_COMMIT, "a" * 40)["created"] is True
