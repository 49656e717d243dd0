from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.storage.blob import (
    BlobClient,
    BlobServiceClient,
    ContainerSasPermissions,
    ExponentialRetry,
    generate_container_sas,
)
from hypothesis import given
from hypothesis import strategies as st

from client import upload
from client.errors import ClientError, UsageError
from client.upload import Content, blob_name, content_of, upload_to_account, upload_to_container
from tests.support.waiting import LIMIT_S

VIDEO = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 4000


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "Match: 1. Half (öffentlich).MP4"
    path.write_bytes(VIDEO)
    return path


@given(st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1))
def test_a_blob_name_needs_no_quoting_and_names_the_content(name: str) -> None:
    content = Content(1, "0123456789abcdef" * 4, b"")
    made = blob_name(Path("/films") / name, content)
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert "0123456789abcdef" in made
    assert made[0] != "."
    assert len(made) < 1024


def test_the_same_file_has_the_same_blob_name_and_another_has_not(video: Path) -> None:
    first = blob_name(video, content_of(video))
    assert first == blob_name(video, content_of(video))
    assert first.startswith("match-1-half-ffentlich-")
    assert first.endswith(".mp4")
    video.write_bytes(VIDEO[::-1])
    assert first != blob_name(video, content_of(video))


def test_a_container_without_a_sas_is_refused(video: Path) -> None:
    with pytest.raises(UsageError, match="SAS"):
        upload_to_container(video, "https://account.example/videos")


@pytest.mark.parametrize(
    "text", ["nonsense", "AccountName=a", "https://account.example", "DefaultEndpointsProtocol=https"]
)
def test_a_connection_string_that_is_none_is_refused_without_being_repeated(video: Path, text: str) -> None:
    with pytest.raises(UsageError, match="MATCHCUT_STORAGE must be a connection string") as refused:
        upload_to_account(video, text)
    assert text not in str(refused.value)


def test_a_storage_that_is_not_there_is_told_in_one_sentence(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_retry", lambda: ExponentialRetry(retry_total=0))
    with pytest.raises(ClientError, match=r"^The upload to http://127.0.0.1:1/a/videos failed: ") as failed:
        upload_to_container(video, "http://127.0.0.1:1/a/videos?sp=racw&sig=Zm9yYmlkZGVu")
    assert "Zm9yYmlkZGVu" not in str(failed.value)
    assert "\n" not in str(failed.value)


@pytest.mark.azurite
def test_the_url_of_an_upload_reads_and_does_nothing_else(video: Path, azurite: Any) -> None:
    done: list[int] = []
    url = upload_to_account(video, azurite.connection_string, done.append)
    assert len(VIDEO) == done[-1]
    assert httpx.get(url, trust_env=False, timeout=LIMIT_S).content == VIDEO
    assert not httpx.get(url.partition("?")[0], trust_env=False, timeout=LIMIT_S).is_success
    assert 403 == httpx.delete(url, trust_env=False, timeout=LIMIT_S).status_code


@pytest.mark.azurite
def test_a_file_that_is_there_is_not_sent_again(video: Path, azurite: Any) -> None:
    first = upload_to_account(video, azurite.connection_string)
    written = BlobClient.from_blob_url(first).get_blob_properties().etag
    second = upload_to_account(video, azurite.connection_string)
    assert first.partition("?")[0] == second.partition("?")[0]
    assert written == BlobClient.from_blob_url(second).get_blob_properties().etag


@pytest.mark.azurite
def test_a_blob_of_that_name_that_holds_something_else_is_replaced(video: Path, azurite: Any) -> None:
    url = upload_to_account(video, azurite.connection_string)
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        name = blob_name(video, content_of(video))
        service.get_blob_client("videos", name).upload_blob(VIDEO[::-1], overwrite=True)
    assert httpx.get(url, trust_env=False, timeout=LIMIT_S).content == VIDEO[::-1]
    upload_to_account(video, azurite.connection_string)
    assert httpx.get(url, trust_env=False, timeout=LIMIT_S).content == VIDEO


def container_url(azurite: Any, permission: str, key: str | None = None) -> str:
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        container = service.get_container_client("inbox")
        if not container.exists():
            container.create_container()
        sas = generate_container_sas(
            str(service.account_name),
            "inbox",
            account_key=key or service.credential.account_key,
            permission=ContainerSasPermissions.from_string(permission),
            expiry=datetime.now(UTC) + timedelta(minutes=5),
        )
        return f"{container.url}?{sas}"


@pytest.mark.azurite
def test_a_container_whose_sas_reads_gives_a_url_that_reads(video: Path, azurite: Any) -> None:
    url = upload_to_container(video, container_url(azurite, "rcw"))
    assert VIDEO == httpx.get(url, trust_env=False, timeout=LIMIT_S).content


@pytest.mark.azurite
def test_a_sas_that_only_writes_is_not_handed_on(video: Path, azurite: Any) -> None:
    address = container_url(azurite, "cw")
    url = upload_to_container(video, address)
    assert f"{address.partition('?')[0]}/{blob_name(video, content_of(video))}" == url
    assert url == upload_to_container(video, address)


@pytest.mark.azurite
def test_a_refused_upload_is_told_without_the_signature(video: Path, azurite: Any) -> None:
    address = container_url(azurite, "rcw", key="Zm9yYmlkZGVu")
    with pytest.raises(
        ClientError, match=r"inbox refused the upload: 403 AuthorizationFailure\.$"
    ) as refused:
        upload_to_container(video, address)
    assert "sig" not in str(refused.value)
