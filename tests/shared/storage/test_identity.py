"""The service's identity is shown to Azure Storage only, and as storage's only."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from shared.errors import BlobAccessDenied
from shared.network import Guard
from shared.settings import Settings
from shared.storage import identity, service_of, translated
from shared.video import look_up, open_source, parse_source
from tests.support.receivers import Authority, Receiver, say

SCOPE = "https://storage.azure.com/.default"
LOCAL = Guard((ip_network("127.0.0.1/32"),), lambda host, port: ["127.0.0.1"])
FOUND = say(200, 'ETag: "0x1"', "Last-Modified: Wed, 25 Nov 2026 09:00:00 GMT", "x-ms-blob-type: BlockBlob")
TENANT = "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/oauth2/authorize"


def challenge(resource: str) -> str:
    return f"WWW-Authenticate: Bearer authorization_uri={TENANT} resource_id={resource}"


CHALLENGES = [challenge("https://vault.azure.net"), challenge("https://storage.azure.com")]


class Credential:
    """Gives a token for whatever it is asked, and keeps what that was."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], dict[str, Any]]] = []

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.asked.append((scopes, options))
        return AccessToken(f"token-{len(self.asked)}", int(time.time()) + 3600)


@pytest.fixture
def credential(monkeypatch: pytest.MonkeyPatch) -> Iterator[Credential]:
    one = Credential()
    monkeypatch.setattr("azure.identity.DefaultAzureCredential", lambda: one)
    identity.cache_clear()
    yield one
    identity.cache_clear()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


def etag_of(url: str, ca: Path, source_identity: bool = True) -> str:
    """Of a source on the allow-list, asked for without a SAS."""
    settings = Settings(
        storage="DefaultEndpointsProtocol=https;AccountName=ours;AccountKey=a2V5;EndpointSuffix=core.windows.net",
        source_hosts=(url.split("/")[2],),
        source_identity=source_identity,
        ca_bundle=ca,
    )
    return look_up(open_source(parse_source(url, settings), "", settings, patient=False, guard=LOCAL)).etag


@pytest.mark.parametrize("challenged", CHALLENGES)
@pytest.mark.parametrize(
    "host", ["media.example.com", "blob.core.windows.net.example.com", "media.blob.core.windows.net"]
)
def test_a_host_that_is_not_azure_s_or_another_port_gets_no_token_whatever_it_asks(
    host: str, challenged: str, credential: Credential, authority: Authority
) -> None:
    with Receiver(say(401, challenged), FOUND, tls=authority.context(host)) as receiver:
        with pytest.raises(BlobAccessDenied):
            etag_of(f"https://{host}:{receiver.port}/videos/match.mp4", authority.bundle)
        assert "0x1" == etag_of(f"https://{host}:{receiver.port}/videos/match.mp4", authority.bundle)
    assert [False, False] == ["authorization" in asked.headers for asked in receiver.asked]
    assert [] == credential.asked


@pytest.fixture
def at_443(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a receiver stand for whoever listens on port 443."""

    def stand_in(receiver: Receiver) -> None:
        def connect(address: tuple[str, int], *args: Any) -> socket.socket:
            assert ("127.0.0.1", 443) == address
            return socket.create_connection((address[0], receiver.port))

        monkeypatch.setattr("shared.network.outbound.create_connection", connect)

    return stand_in


@pytest.mark.parametrize(
    "host",
    [
        "media.blob.core.windows.net",
        "media.blob.core.usgovcloudapi.net",
        "media.blob.core.chinacloudapi.cn",
        "media.z22.blob.storage.azure.net",
    ],
)
def test_an_account_on_azure_gets_a_token_for_storage(
    host: str, credential: Credential, authority: Authority, at_443: Any
) -> None:
    with Receiver(FOUND, tls=authority.context(host)) as receiver:
        at_443(receiver)
        assert "0x1" == etag_of(f"https://{host}/videos/match.mp4", authority.bundle)
        assert "0x1" == etag_of(f"https://{host}/videos/match.mp4", authority.bundle, source_identity=False)
    assert ["Bearer token-1", None] == [asked.headers.get("authorization") for asked in receiver.asked]
    assert [((SCOPE,), {})] == credential.asked


@pytest.mark.parametrize("challenged", CHALLENGES)
def test_a_challenge_for_another_resource_or_tenant_is_not_followed(
    challenged: str, credential: Credential, authority: Authority, at_443: Any
) -> None:
    host = "media.blob.core.windows.net"
    with Receiver(say(401, challenged), FOUND, tls=authority.context(host)) as receiver:
        at_443(receiver)
        with pytest.raises(BlobAccessDenied):
            etag_of(f"https://{host}/videos/match.mp4", authority.bundle)
    assert ["Bearer token-1"] == [asked.headers.get("authorization") for asked in receiver.asked]
    assert [((SCOPE,), {})] == credential.asked


@pytest.mark.parametrize("challenged", CHALLENGES)
def test_the_own_account_s_challenges_are_not_followed_either(
    challenged: str, credential: Credential, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    with Receiver(FOUND, say(401, challenged), FOUND, tls=authority.context("127.0.0.1")) as receiver:
        blob = service_of(f"https://127.0.0.1:{receiver.port}/ours", patient=False).get_blob_client("c", "b")
        assert '"0x1"' == blob.get_blob_properties().etag
        with pytest.raises(BlobAccessDenied), translated("The blob"):
            blob.get_blob_properties()
    assert ["Bearer token-1", "Bearer token-1"] == [a.headers.get("authorization") for a in receiver.asked]
    assert [((SCOPE,), {})] == credential.asked


def test_the_identity_gives_tokens_for_storage_and_of_its_own_tenant_only(credential: Credential) -> None:
    for scopes, options in [
        ((), {}),
        (("https://vault.azure.net/.default",), {}),
        ((SCOPE, "https://vault.azure.net/.default"), {}),
        ((SCOPE,), {"tenant_id": "11111111-2222-3333-4444-555555555555"}),
        ((SCOPE,), {"claims": "{}"}),
    ]:
        with pytest.raises(BlobAccessDenied):
            identity().get_token(*scopes, **options)
    assert [] == credential.asked
    assert "token-1" == identity().get_token(SCOPE).token
