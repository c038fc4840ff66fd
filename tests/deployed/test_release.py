"""What `sam publish` would be given: `sam package` of what `make build` wrote beside the template that is deployed."""

import os
from pathlib import Path

import yaml

from testing.stack import ROOT
from tests.deployed.deployment import ARCHITECTURE, Sam
from tests.deployed.emulator import Emulator
from tools.template import APPLICATION, PUBLISHED


def test_application_is_packaged_with_its_readme_and_its_licence(emulator: Emulator, sam: Sam, tmp_path: Path) -> None:
    """SAM finds both from the build directory, and puts them where the repository can read them."""
    packaged = tmp_path / "packaged.yaml"
    sam.run(
        *("package", "--template-file", ROOT / ".aws-sam" / ARCHITECTURE / PUBLISHED, "--resolve-s3"),
        *("--output-template-file", packaged),
        environment={**os.environ, **emulator.credentials},
    )
    application = yaml.load(packaged.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)["Metadata"][APPLICATION]
    s3 = emulator.client("s3")
    for name, source in (("ReadmeUrl", "README.md"), ("LicenseUrl", "LICENSE")):
        bucket, _, key = application[name].removeprefix("s3://").partition("/")
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == (ROOT / source).read_bytes()
