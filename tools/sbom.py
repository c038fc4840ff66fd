"""`python -m tools.sbom artefact.tar git2efs.cdx.json`: write the software bill of materials of what was built.

It is CycloneDX 1.6: each package that lies in the artefact, with the version and the hashes that requirements.txt pins,
and who asks for it. The same artefact gives the same bytes. Exit status 1 says that the artefact holds something else
than what requirements.txt names.
"""

import hashlib
import json
import re
import sys
import tarfile
import tomllib
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.locks import PROJECT, Pin, artefact_lock, normalize, read_lock

_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/schema/bom-1.6.schema.json")
_INSTALLED = re.compile(r"(?:^|/)([A-Za-z0-9_.]+)-([A-Za-z0-9_.!+]+)\.dist-info/METADATA$")


def bill_of(about: dict[str, Any], digest: str, pins: Sequence[Pin]) -> dict[str, object]:
    """Return the bill of an artefact with this sha256 (hex). `about` is pyproject.toml's table `project`."""
    own = f"pkg:pypi/{about['name']}@{about['version']}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": about["name"],
                "version": about["version"],
                "description": about["description"],
                "licenses": [{"license": {"id": about["license"]}}],
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
        },
        "components": [_component(pin) for pin in pins],
        "dependencies": [
            {
                "ref": own,
                "dependsOn": [_reference(pin) for pin in pins if f"{about['name']} (pyproject.toml)" in pin.via],
            },
            *({"ref": _reference(pin), "dependsOn": _needs(pin, pins)} for pin in pins),
        ],
    }


def _reference(pin: Pin) -> str:
    return f"pkg:pypi/{pin.name}@{pin.version}"


def _component(pin: Pin) -> dict[str, object]:
    hashes = [{"alg": "SHA-256", "content": each.removeprefix("sha256:")} for each in pin.hashes]
    return {
        "type": "library",
        "bom-ref": _reference(pin),
        "name": pin.name,
        "version": pin.version,
        "purl": _reference(pin),
        # One of these files was installed; which one depends on the processor.
        "externalReferences": [{"type": "distribution", "url": _reference(pin), "hashes": hashes}],
    }


def _needs(pin: Pin, pins: Iterable[Pin]) -> list[str]:
    return [_reference(other) for other in pins if pin.name in map(normalize, other.via)]


def installed_in(artefact: Path) -> set[tuple[str, str]]:
    """Return name and version of every package in an artefact's tar file."""
    with tarfile.open(artefact) as archive:
        found = (_INSTALLED.search(name) for name in archive.getnames())
        return {(normalize(match[1]), match[2]) for match in found if match is not None}


def main(arguments: Sequence[str]) -> int:
    """Write the bill; return the exit status: 0, 1 the artefact is another one, 2 wrong use."""
    if len(arguments) != 2:
        print("needs the artefact's tar file, and where to write", file=sys.stderr)
        return 2
    artefact, target = map(Path, arguments)
    pins = read_lock(artefact_lock().read_text(encoding="utf-8"))
    installed, named = installed_in(artefact), {(pin.name, pin.version) for pin in pins}
    if installed != named:
        print(f"the artefact and requirements.txt differ in {sorted(installed ^ named)}", file=sys.stderr)
        return 1
    with artefact.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    about = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    target.write_text(json.dumps(bill_of(about, digest, pins), indent=2) + "\n", encoding="utf-8")
    print(f"{target}: {len(pins)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
