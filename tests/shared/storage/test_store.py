"""Sources, the allow-list, and what storage says when it refuses."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.azurite import Azurite
from shared.errors import BadUrl, BlobAccessDenied, BlobNotFound, HostNotAllowed, StorageUnavailable
from shared.redact import redact
from shared.settings import Settings
from shared.storage import BlobStore, split_secret
from shared.video import look_up, open_source, parse_source, read_ranges
from tests.support.in_process import InProcessService

CLOUD = Settings(
    storage="DefaultEndpointsProtocol=https;AccountName=ours;AccountKey=a2V5;EndpointSuffix=core.windows.net",
    source_hosts=("media.example.com", "*.blob.core.windows.net", "localhost:9000"),
)


def test_a_blob_url_is_parted_into_container_and_blob() -> None:
    source = parse_source("https://ours.blob.core.windows.net/videos/2026/cup%20final.mp4?sig=x", CLOUD)
    assert (source.container, source.blob) == ("videos", "2026/cup final.mp4")
    assert source.own
    assert source.url == "https://ours.blob.core.windows.net/videos/2026/cup%20final.mp4"


@pytest.mark.parametrize(
    "url",
    [
        "https://media.example.com/c/b.mp4",
        "https://other.blob.core.windows.net/c/b.mp4",
        "http://localhost:9000/c/b.mp4",
    ],
)
def test_hosts_on_the_list_may_be_sources(url: str) -> None:
    assert not parse_source(url, CLOUD).own


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com/c/b.mp4",
        "https://media.example.com.evil.net/c/b.mp4",
        "https://blob.core.windows.net/c/b.mp4",
        "https://evilblob.core.windows.net/c/b.mp4",
        "https://169.254.169.254/metadata/instance",
        "http://localhost:9001/c/b.mp4",
        "http://127.0.0.1/c/b.mp4",
    ],
)
def test_hosts_that_are_not_on_the_list_are_refused(url: str) -> None:
    with pytest.raises(HostNotAllowed):
        parse_source(url, CLOUD)


@pytest.mark.parametrize(
    "url",
    [
        "http://media.example.com/c/b.mp4",
        "file:///etc/passwd",
        "ftp://media.example.com/c/b.mp4",
        "https://user:word@media.example.com/c/b.mp4",
        "https://media.example.com/only-a-container",
        "https://media.example.com/",
        "https://media.example.com:port/c/b.mp4",
        "https://[broken/c/b.mp4",
        "https:///c/b.mp4",
        "nonsense",
        "https://ours.blob.core.windows.net/matchcut/secrets/m-1",
        "https://ours.blob.core.windows.net/videos/../matchcut/secrets/m-1",
        "https://ours.blob.core.windows.net/videos/..%2fmatchcut/secrets/m-1",
        "https://ours.blob.core.windows.net/videos/./b.mp4",
        "https://ours.blob.core.windows.net/videos//b.mp4",
        "https://ours.blob.core.windows.net/videos/a%0d%0ab.mp4",
        "https://evil.example\\.blob.core.windows.net/c/b.mp4",
        "https://169.254.169.254\\.blob.core.windows.net/c/b.mp4",
        "https://evil.example%5c.blob.core.windows.net/c/b.mp4",
        "https://evil.example%23.blob.core.windows.net/c/b.mp4",
        "https://[::1].blob.core.windows.net/c/b.mp4",
    ],
)
def test_what_is_no_blob_url_is_refused(url: str) -> None:
    with pytest.raises(BadUrl):
        parse_source(url, CLOUD)


def test_what_lies_with_the_models_is_no_video() -> None:
    settings = CLOUD.model_copy(update={"models_container": "networks"})
    with pytest.raises(BadUrl, match="container of the service's own"):
        parse_source("https://ours.blob.core.windows.net/networks/a/model.onnx", settings)


def test_the_default_port_is_no_other_account() -> None:
    assert parse_source("https://ours.blob.core.windows.net:443/c/b.mp4", CLOUD).own


@given(st.text())
def test_any_text_is_a_source_or_a_clear_refusal(text: str) -> None:
    with suppress(BadUrl, HostNotAllowed):
        source = parse_source(text, CLOUD)
        assert source.container
        assert source.blob


@given(st.from_regex(r"[A-Za-z0-9%/+]{8,60}", fullmatch=True))
def test_no_signature_survives_redaction(signature: str) -> None:
    for text in (
        f"GET https://a.blob.core.windows.net/c/b.mp4?sv=2024&sig={signature}&se=2026 failed",
        f"Max retries exceeded with url: /c/b.mp4?sp=r&sig={signature} (Caused by ...)",
        f"AccountName=x;AccountKey={signature};EndpointSuffix=y",
        f"Authorization: Bearer {signature}",
    ):
        assert signature not in redact(text)


def test_the_secret_is_all_of_the_query() -> None:
    assert split_secret("https://h/c/b.mp4?sv=1&sig=a%2Fb#f") == ("https://h/c/b.mp4", "sv=1&sig=a%2Fb")


@pytest.fixture(scope="module")
def service(azurite: Azurite) -> InProcessService:
    return InProcessService(azurite.connection_string)


@pytest.mark.azurite
class TestWithAzurite:
    def test_a_blob_that_is_not_there_has_its_own_error(self, service: InProcessService) -> None:
        url = service.upload(b"x").replace("match.mp4", "other.mp4")
        source = parse_source(url, service.settings)
        with pytest.raises(BlobNotFound):
            look_up(open_source(source, "", service.settings))

    def test_a_signature_that_is_not_valid_is_no_access(self, service: InProcessService) -> None:
        url = service.upload(b"x")
        bare, sas = split_secret(service.sas(url))
        broken = sas[: sas.index("sig=") + 4] + "AAAA"
        with pytest.raises(BlobAccessDenied) as caught:
            look_up(open_source(parse_source(bare, service.settings), broken, service.settings))
        assert "sig" not in caught.value.message

    def test_an_expired_signature_is_no_access(self, service: InProcessService) -> None:
        bare, sas = split_secret(service.sas(service.upload(b"x"), lasts_s=-60))
        with pytest.raises(BlobAccessDenied):
            look_up(open_source(parse_source(bare, service.settings), sas, service.settings))

    def test_ranges_read_the_blob_byte_for_byte(self, service: InProcessService) -> None:
        data = bytes(range(256)) * 12_000
        url = service.upload(data, "ranges.bin")
        client = open_source(parse_source(url, service.settings), "", service.settings)
        reader = read_ranges(client, look_up(client))
        parts = []
        while part := reader.read(700_001):
            parts.append(part)
        assert data == b"".join(parts)
        assert len(data) == reader.bytes_read
        reader.seek(-5, 2)
        assert data[-5:] == reader.read(100)
        assert reader.read(1) == b""

    def test_a_document_is_written_once_by_one_of_many(self, service: InProcessService) -> None:
        assert service.store.put_new("once", b"first")
        assert not service.store.put_new("once", b"second")
        assert service.store.get("once") == b"first"
        service.store.delete("once")
        service.store.delete("once")
        assert service.store.find("once") is None


def test_storage_that_does_not_answer_is_unavailable_and_says_no_secret() -> None:
    from azure.storage.blob import BlobServiceClient

    service = BlobServiceClient(
        "http://127.0.0.1:9/account", credential={"account_name": "a", "account_key": "a2V5"}, retry_total=0
    )
    with pytest.raises(StorageUnavailable) as caught:
        BlobStore(service, "matchcut").get("x")
    assert "127.0.0.1" not in caught.value.message
