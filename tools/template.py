"""Finish a template that `sam build` wrote: it is built, and for one processor.

SAM writes it with one key a line and two blanks a level, so that its text can be edited, without a YAML reader.
"""

import re
from pathlib import Path

SOURCE_RULE = "IsBuilt"
"""The rule of template.yaml that refuses the source. What is built is refused no more."""
APPLICATION = "AWS::ServerlessRepo::Application"
"""What the Serverless Application Repository is told, in a template's Metadata."""
PUBLISHED = "application.yaml"
"""Beside a built template: the same with that, for `sam package` and `sam publish`."""

_RULE = re.compile(rf"^  {SOURCE_RULE}:\n(?:    .*\n)+", re.MULTILINE)
_APPLICATION = re.compile(rf"^  {APPLICATION}:\n(?:    .*\n)+", re.MULTILINE)
_ARCHITECTURE = re.compile(
    r"^(  Architecture:\n    Type: String\n    Default: )\w+\n    AllowedValues:\n(?:    - \w+\n)+", re.MULTILINE
)
_CODE = re.compile(r"^(      CodeUri: )(\w+)$", re.MULTILINE)


def finish_template(path: Path, architecture: str) -> None:
    """Let a built template be deployed, and propose and accept `architecture` alone; nothing happens the second time.

    Beside it goes the one that can be published. SAM uploads the README and the licence that this names whenever it
    packages a template, and fails where they are not; a deployment needs neither. Raises ValueError for a template in
    which the rule, the parameter or the metadata is not as SAM writes it.
    """
    text = finished(path.read_text(encoding="utf-8"), architecture)
    if APPLICATION in text:
        path.with_name(PUBLISHED).write_text(text, encoding="utf-8")
    text = _APPLICATION.sub("", text)
    if APPLICATION in text:
        raise ValueError(f"the built template has a {APPLICATION} that is not as SAM writes it")
    path.write_text(text, encoding="utf-8")


def finished(text: str, architecture: str) -> str:
    """Return the text of a built template as it is deployed. Raises ValueError, as `finish_template`."""
    only = rf"\g<1>{architecture}\n    AllowedValues:\n    - {architecture}\n"
    text, count = _ARCHITECTURE.subn(only, text)
    if count != 1:
        raise ValueError("the built template has no parameter Architecture as SAM writes it")
    text = _RULE.sub("", text)
    if SOURCE_RULE in text:
        raise ValueError(f"the built template has a rule {SOURCE_RULE} that is not as SAM writes it")
    return text


def write_default(built: Path, directory: Path) -> None:
    """Write `directory`/template.yaml, where SAM looks without being told: the template `built`, with its artefacts.

    `directory` is beside the one of `built`. What a `sam build` left there goes.
    """
    directory.mkdir(exist_ok=True)
    text = _CODE.sub(rf"\g<1>../{built.parent.name}/\g<2>", built.read_text(encoding="utf-8"))
    (directory / "template.yaml").write_text(text, encoding="utf-8")
