"""The bill of materials: every package of the artefact, as requirements.txt pins it, and the same bytes each time."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tools.locks import PROJECT, read_lock
from tools.sbom import main

PINS = read_lock((PROJECT / "requirements.txt").read_text(encoding="utf-8"))


def artefact(path: Path, names: list[str]) -> Path:
    """Make a tar file with these empty members."""
    with tarfile.open(path, "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return path


def installed(name: str, version: str) -> str:
    """Return where a package's metadata lies in an artefact."""
    return f".aws-sam/arm64/WebhookFunction/{name.replace('-', '_')}-{version}.dist-info/METADATA"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What `sam build` made, with every package."""
    return artefact(tmp_path / "artefact.tar", [installed(pin.name, pin.version) for pin in PINS])


def test_bill_names_every_package_with_its_hashes(built: Path, tmp_path: Path) -> None:
    """Version, hashes and who needs it; and the artefact itself by its own hash."""
    target = tmp_path / "bill.json"
    assert main([str(built), str(target)]) == 0
    bill: dict[str, Any] = json.loads(target.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    digest = hashlib.sha256(built.read_bytes()).hexdigest()
    assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": digest}]
    components = {each["purl"]: each for each in bill["components"]}
    assert set(components) == {f"pkg:pypi/{pin.name}@{pin.version}" for pin in PINS}
    for pin in PINS:
        (reference,) = components[f"pkg:pypi/{pin.name}@{pin.version}"]["externalReferences"]
        assert [f"sha256:{each['content']}" for each in reference["hashes"]] == list(pin.hashes)
    known = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    assert {name for names in known.values() for name in names} == set(components)
    assert set(known) == {*components, bill["metadata"]["component"]["bom-ref"]}
    (boto3,) = (reference for reference in known if reference.startswith("pkg:pypi/boto3@"))
    assert any(each.startswith("pkg:pypi/botocore@") for each in known[boto3])
    first = target.read_bytes()
    assert main([str(built), str(target)]) == 0
    assert target.read_bytes() == first


@pytest.mark.parametrize("change", ["one more", "one less", "another version"])
def test_another_artefact_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str) -> None:
    """The bill would not be true."""
    names = [installed(pin.name, pin.version) for pin in PINS]
    changed = {
        "one more": [*names, installed("stranger", "1.0")],
        "one less": names[1:],
        "another version": [installed(PINS[0].name, "0.0.1"), *names[1:]],
    }
    built = artefact(tmp_path / "artefact.tar", changed[change])
    assert main([str(built), str(tmp_path / "bill.json")]) == 1
    assert "differ" in capsys.readouterr().err
    assert not (tmp_path / "bill.json").exists()
