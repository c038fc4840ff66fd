"""Settings from the environment: the addresses of queues, the function that publishes, the hosts that tokens go to."""

import pytest

from handler.errors import ConfigurationInvalid
from handler.settings import MIB, read_settings

REQUIRED = {"GIT2EFS_PARAMETER_PREFIX": "/git2efs/x", "GIT2EFS_MOUNT": "/mnt/efs"}
URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/x.fifo"


def test_without_a_queue_pushes_are_reconciled_at_once() -> None:
    """Unset and empty say the same, as CloudFormation can only set an empty value."""
    for environment in (REQUIRED, REQUIRED | {"GIT2EFS_QUEUE_URL": "", "GIT2EFS_DEAD_LETTER_URL": ""}):
        settings = read_settings(environment)
        assert (settings.queue_url, settings.dead_letter_url) == ("", "")


def test_a_queues_url_is_read() -> None:
    """As SQS gives it."""
    assert read_settings(REQUIRED | {"GIT2EFS_QUEUE_URL": URL}).queue_url == URL


@pytest.mark.parametrize("name", ["GIT2EFS_QUEUE_URL", "GIT2EFS_DEAD_LETTER_URL"])
def test_what_is_no_url_is_said_without_its_value(name: str) -> None:
    """An ARN is what people take for it."""
    with pytest.raises(ConfigurationInvalid) as caught:
        read_settings(REQUIRED | {name: "arn:aws:sqs:x:y:z"})
    assert str(caught.value) == f"{name} must be a queue's URL"


@pytest.mark.parametrize(
    ("value", "hosts"),
    [
        ("", "github.com"),
        ("GitHub.com", "github.com"),
        ("git.example.com:8443 , github.com", "git.example.com:8443,github.com"),
        ("[::1]:80", "[::1]:80"),
    ],
)
def test_hosts_are_read_in_lower_case(value: str, hosts: str) -> None:
    """Empty is the default."""
    assert read_settings(REQUIRED | {"GIT2EFS_ALLOWED_HOSTS": value}).allowed_hosts == hosts


@pytest.mark.parametrize(
    "value", ["https://github.com", "github.com/octo", "*", "a,,b", "a b", "a,", "t0ken@x", "a:0", "a:"]
)
def test_what_is_no_host_is_said_without_its_value(value: str) -> None:
    """A host has no scheme, no path and no pattern."""
    with pytest.raises(ConfigurationInvalid) as caught:
        read_settings(REQUIRED | {"GIT2EFS_ALLOWED_HOSTS": value})
    assert str(caught.value) == (
        "GIT2EFS_ALLOWED_HOSTS must be hosts, each with or without a port, with commas between them"
    )


@pytest.mark.parametrize(
    ("memory", "bound"), [(None, 100), ("", 100), ("rubbish", 100), ("128", 100), ("512", 128), ("10240", 2560)]
)
def test_an_object_may_take_a_quarter_of_the_functions_memory_and_100_mib_in_any_case(
    memory: str | None, bound: int
) -> None:
    """Lambda says how much that is; the setting comes before it."""
    environment = REQUIRED | ({} if memory is None else {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory})
    assert read_settings(environment).max_object_bytes == bound * MIB
    assert read_settings(environment | {"GIT2EFS_MAX_OBJECT_BYTES": "5000"}).max_object_bytes == 5000


@pytest.mark.parametrize(
    "value",
    [
        "git2efs-PublisherFunction-1A2B3C",
        "arn:aws:lambda:eu-central-1:123456789012:function:git2efs-PublisherFunction-1A2B3C",
        "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:publisher:live",
        "publisher:$LATEST",
    ],
)
def test_a_publisher_is_a_functions_name_or_arn(value: str) -> None:
    """As CloudFormation gives either; a version or an alias may follow. Unset and empty publish in this process."""
    assert read_settings(REQUIRED | {"GIT2EFS_PUBLISHER": value}).publisher == value
    assert read_settings(REQUIRED | {"GIT2EFS_PUBLISHER": ""}).publisher == read_settings(REQUIRED).publisher == ""


@pytest.mark.parametrize(
    "value",
    ["https://example.com", "two words", "arn:aws:sqs:eu-central-1:123456789012:queue", "a" * 65, "x:", "a/b"],
)
def test_what_is_no_function_is_said_without_its_value(value: str) -> None:
    """A queue's ARN and a URL are refused when the process starts, and not at its first push."""
    with pytest.raises(ConfigurationInvalid) as caught:
        read_settings(REQUIRED | {"GIT2EFS_PUBLISHER": value})
    assert str(caught.value) == "GIT2EFS_PUBLISHER must be a Lambda function's name or ARN"


@pytest.mark.parametrize(
    ("given", "proxy"),
    [
        ({"HTTPS_PROXY": "http://proxy.example.com:3128"}, "http://proxy.example.com:3128"),
        ({"https_proxy": "https://proxy.example.com/"}, "https://proxy.example.com"),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"}, "http://b:2"),
        ({"HTTPS_PROXY": "proxy.example.com:3128"}, "http://proxy.example.com:3128"),
        ({"HTTPS_PROXY": "http://me:p%40ss@[::1]:3128"}, "http://me:p%40ss@[::1]:3128"),
        ({"HTTPS_PROXY": ""}, ""),
    ],
)
def test_a_proxy_is_read_from_the_variables_that_everybody_reads(given: dict[str, str], proxy: str) -> None:
    """In lower case too, which comes first, as it does elsewhere."""
    assert read_settings(REQUIRED | given).https_proxy == proxy


@pytest.mark.parametrize("value", ["socks5://a:1", "http://", "http://a b:1", "http://me:hunter2@", "http://a:1/path"])
def test_what_is_no_proxy_is_told_without_its_password(value: str) -> None:
    """It may be in there."""
    with pytest.raises(ConfigurationInvalid, match="HTTPS_PROXY must be a proxy's URL") as caught:
        read_settings(REQUIRED | {"HTTPS_PROXY": value})
    assert "hunter2" not in str(caught.value)
