"""Connections go to the address that was checked, and TLS still asks for the name."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from shared.errors import BlobAccessDenied, HostNotAllowed, SourceTooSlow, StorageUnavailable
from shared.network import Endpoint, Guard, NoAnswer, Patience, post
from shared.network.outbound import Answer
from shared.settings import Settings
from shared.storage import split_secret
from shared.video import BlobFacts, look_up, open_source, parse_source, read_ranges
from shared.video.source import Pace
from tests.support.ports import own_port
from tests.support.receivers import (
    BLOB,
    HASTY,
    PATIENT,
    Authority,
    Play,
    Receiver,
    drip,
    flood,
    reset,
    say,
    silence,
)

HOST = "hooks.example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def _no_look_up_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the system for a name, past the guard, fails the test."""
    system = socket.getaddrinfo

    def numbers_only(host: Any, *args: Any, **kwargs: Any) -> Any:
        assert str(host).startswith(("127.", "::")), f"{host} was looked up"
        return system(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", numbers_only)


class Names:
    """A resolver that gives one answer after the other, the last for ever, and counts."""

    def __init__(self, *answers: str | tuple[str, ...]) -> None:
        self.answers, self.asked = answers, 0

    def __call__(self, host: str, port: int) -> tuple[str, ...]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return (answer,) if isinstance(answer, str) else answer


def lets(names: Names, *networks: str) -> Guard:
    return Guard(tuple(map(ip_network, networks)), names)


LOCAL = "127.0.0.1/32"


def ask(
    receiver: Receiver, guard: Guard, ca: Path | None, patience: Patience = PATIENT, host: str = HOST
) -> Answer:
    return post(Endpoint("https", host, receiver.port), "/in?token=x", b"{}", {}, guard, ca, patience)


def failure(receiver: Receiver, guard: Guard, ca: Path | None, patience: Patience = PATIENT) -> str:
    with pytest.raises(NoAnswer) as caught:
        ask(receiver, guard, ca, patience)
    return caught.value.code


@pytest.fixture
def receive(authority: Authority) -> Iterator[Any]:
    opened: list[Receiver] = []

    def start(*plays: Play, host: str = HOST, address: str = "127.0.0.1", port: int = 0) -> Receiver:
        receiver = Receiver(*plays, address=address, port=port, tls=authority.context(host)).__enter__()
        opened.append(receiver)
        return receiver

    yield start
    for receiver in opened:
        receiver.__exit__(None, None, None)


@pytest.fixture
def port() -> Iterator[int]:
    """For two receivers at two addresses."""
    with own_port() as free:
        yield free


def test_the_post_arrives_as_it_was_sent_under_the_host_s_own_name(
    receive: Any, authority: Authority
) -> None:
    receiver = receive(say(200, body=b"thanks"))
    names = Names("127.0.0.1")
    assert ask(receiver, lets(names, LOCAL), authority.bundle) == Answer(200, None)
    (asked,) = receiver.asked
    assert (asked.method, asked.target, asked.body) == ("POST", "/in?token=x", b"{}")
    assert asked.headers["host"] == f"{HOST}:{receiver.port}"
    assert receiver.names == [HOST]
    assert names.asked == 1


def test_an_address_that_is_not_allowed_gets_no_packet(receive: Any, authority: Authority) -> None:
    receiver = receive()
    for answer in ("127.0.0.1", ("8.8.8.8", "127.0.0.1"), "::ffff:127.0.0.1"):
        with pytest.raises(HostNotAllowed):
            ask(receiver, lets(Names(answer)), authority.bundle)
    assert receiver.connections == 0


def test_a_name_that_changes_its_address_is_checked_again_for_each_connection(
    receive: Any, authority: Authority, port: int
) -> None:
    """127.0.0.2 stands for the public address here, 127.0.0.1 for what an attacker is after."""
    public, private = (receive(address=a, port=port) for a in ("127.0.0.2", "127.0.0.1"))
    guard = lets(Names("127.0.0.2", "127.0.0.1"), "127.0.0.2/32")
    assert ask(public, guard, authority.bundle) == Answer(204, None)
    with pytest.raises(HostNotAllowed):
        ask(public, guard, authority.bundle)
    assert (public.connections, private.connections) == (1, 0)


def test_a_second_answer_between_check_and_connect_does_not_exist(
    receive: Any, authority: Authority, port: int
) -> None:
    public, private = (receive(address=a, port=port) for a in ("127.0.0.2", "127.0.0.1"))
    names = Names("127.0.0.2", "127.0.0.1")
    ask(public, lets(names, "127.0.0.0/8"), authority.bundle)
    assert (names.asked, public.connections, private.connections) == (1, 1, 0)


def test_the_next_address_is_tried_where_one_does_not_answer(receive: Any, authority: Authority) -> None:
    receiver = receive()
    guard = lets(Names(("127.0.0.3", "127.0.0.1")), "127.0.0.0/8")
    assert ask(receiver, guard, authority.bundle).status == 204


def test_a_certificate_of_another_name_or_authority_is_no_answer(
    receive: Any, authority: Authority, tmp_path: Path
) -> None:
    guard = lets(Names("127.0.0.1"), LOCAL)
    assert failure(receive(host="other.example.com"), guard, authority.bundle) == "tls"
    assert failure(receive(host="127.0.0.1"), guard, authority.bundle) == "tls"
    assert failure(receive(), guard, Authority.make(tmp_path).bundle) == "tls"
    assert failure(receive(), guard, None) == "tls"


def test_a_redirect_is_an_answer_and_not_followed(receive: Any, authority: Authority) -> None:
    target = receive()
    for status in (301, 302, 303, 307, 308):
        receiver = receive(say(status, f"Location: https://{HOST}:{target.port}/"))
        assert ask(receiver, lets(Names("127.0.0.1"), LOCAL), authority.bundle).status == status
    assert target.connections == 0


def test_proxies_of_the_environment_are_not_asked(
    receive: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as proxy:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert ask(receive(), lets(Names("127.0.0.1"), LOCAL), authority.bundle).status == 204
        assert proxy.connections == 0


@pytest.mark.parametrize(
    ("play", "code"), [(reset, "broken_answer"), (silence, "timeout"), (drip, "timeout")]
)
def test_an_answer_that_breaks_or_does_not_come_ends_in_time(
    play: Play, code: str, receive: Any, authority: Authority
) -> None:
    assert failure(receive(play), lets(Names("127.0.0.1"), LOCAL), authority.bundle, HASTY) == code


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0" * 200, b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 99999 x\r\n\r\n", b"SSH-2.0-x\r\n"],
)
def test_an_answer_that_is_no_http_is_broken(answer: bytes, receive: Any, authority: Authority) -> None:
    receiver = receive(lambda peer: peer.sendall(answer))
    assert failure(receiver, lets(Names("127.0.0.1"), LOCAL), authority.bundle) == "broken_answer"


def test_a_handshake_that_is_never_finished_ends_in_time(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = Endpoint("https", HOST, mute.getsockname()[1])
        with pytest.raises(NoAnswer) as caught:
            post(endpoint, "/", b"", {}, lets(Names("127.0.0.1"), LOCAL), authority.bundle, HASTY)
    assert caught.value.code == "timeout"


def test_of_a_huge_answer_only_the_beginning_is_read(receive: Any, authority: Authority) -> None:
    taken = 0

    def count(peer: socket.socket) -> None:
        nonlocal taken
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        peer.sendall(b"HTTP/1.1 200 Said\r\nContent-Length: 67108864\r\n\r\n")
        for _ in range(1024):
            peer.sendall(bytes(65536))
            taken += 65536

    receiver = receive(count)
    assert ask(receiver, lets(Names("127.0.0.1"), LOCAL), authority.bundle).status == 200
    assert taken < 16 * 1024 * 1024  # what the buffers of both sides held
    assert ask(receive(flood), lets(Names("127.0.0.1"), LOCAL), authority.bundle).status == 200


def test_the_status_counts_even_where_the_rest_never_comes(receive: Any, authority: Authority) -> None:
    def half(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 Said\r\nContent-Length: 100\r\n\r\nhalf")
        silence(peer)

    patience = Patience(connect_s=60, read_s=3, whole_s=60)
    assert ask(receive(half), lets(Names("127.0.0.1"), LOCAL), authority.bundle, patience).status == 200


def test_nobody_there_and_no_such_name_are_told_apart(authority: Authority) -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    nobody, nowhere = lets(Names("127.0.0.1"), LOCAL), Guard((), unknown)
    with own_port() as port:
        for guard, code in ((nobody, "unreachable"), (nowhere, "unknown_host")):
            with pytest.raises(NoAnswer) as caught:
                post(Endpoint("https", HOST, port), "/", b"", {}, guard, authority.bundle, PATIENT)
            assert caught.value.code == code


def test_no_log_holds_the_query(receive: Any, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    plays = (say(200), say(302, "Location: /in?token=x"), say(200, "no colon here"), reset)
    receiver = receive(*plays)
    guard = lets(Names("127.0.0.1"), LOCAL)
    for _ in plays[:-1]:
        ask(receiver, guard, authority.bundle)
    failure(receiver, guard, authority.bundle)
    assert len(receiver.asked) == 4
    assert "token" not in caplog.text


# ---------------------------------------------------------------- the caller's source


def found() -> Play:
    return say(200, *BLOB)


def settings_of(host: str, ca: Path | None) -> Settings:
    return Settings(
        storage="DefaultEndpointsProtocol=https;AccountName=ours;AccountKey=a2V5;EndpointSuffix=core.windows.net",
        source_hosts=(host,),
        ca_bundle=ca,
    )


def source_facts(receiver: Receiver, guard: Guard, ca: Path | None, query: str = "sig=abc") -> str:
    settings = settings_of(f"{HOST}:{receiver.port}", ca)
    bare, sas = split_secret(f"https://{HOST}:{receiver.port}/videos/match.mp4?{query}")
    client = open_source(parse_source(bare, settings), sas, settings, patient=False, guard=guard)
    return look_up(client).etag


def test_a_source_is_read_at_the_checked_address_under_its_own_name(
    receive: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = receive(found())
    with Receiver() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert source_facts(receiver, lets(Names("127.0.0.1"), LOCAL), authority.bundle) == "0x1"
        assert proxy.connections == 0
    assert receiver.names == [HOST]
    assert receiver.asked[0].target == "/videos/match.mp4?sig=abc"


def test_a_source_whose_address_is_not_allowed_gets_no_packet(receive: Any, authority: Authority) -> None:
    receiver = receive(found())
    for answer in ("127.0.0.1", "169.254.169.254", ("8.8.8.8", "10.0.0.1")):
        with pytest.raises(HostNotAllowed):
            source_facts(receiver, lets(Names(answer)), authority.bundle)
    assert receiver.connections == 0


def test_a_source_s_name_that_changes_its_address_is_refused_when_it_does(
    receive: Any, authority: Authority, port: int
) -> None:
    public, private = (receive(found(), address=a, port=port) for a in ("127.0.0.2", "127.0.0.1"))
    guard = lets(Names("127.0.0.2", "127.0.0.1"), "127.0.0.2/32")
    assert source_facts(public, guard, authority.bundle) == "0x1"
    with pytest.raises(HostNotAllowed):
        source_facts(public, guard, authority.bundle)
    assert private.connections == 0


def test_a_source_that_redirects_is_refused_and_not_followed(receive: Any, authority: Authority) -> None:
    target = receive(found())
    receiver = receive(say(302, f"Location: https://{HOST}:{target.port}/videos/match.mp4"))
    with pytest.raises(HostNotAllowed):
        source_facts(receiver, lets(Names("127.0.0.1"), LOCAL), authority.bundle)
    assert target.connections == 0


def test_a_source_with_another_certificate_is_not_read(receive: Any, authority: Authority) -> None:
    receiver = receive(found(), host="other.example.com")
    with pytest.raises(StorageUnavailable):
        source_facts(receiver, lets(Names("127.0.0.1"), LOCAL), authority.bundle)
    assert receiver.asked == []


def test_what_a_source_refuses_is_told_without_its_signature(
    receive: Any, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver = receive(say(403, "x-ms-error-code: AuthenticationFailed", "no colon here"))
    with pytest.raises(BlobAccessDenied) as refused:
        source_facts(receiver, lets(Names("127.0.0.1"), LOCAL), authority.bundle, "sv=2024&sig=quitesecret")
    assert "quitesecret" not in refused.value.message
    assert "quitesecret" not in caplog.text


def look_up_in_vain(port: int, authority: Authority) -> None:
    settings = settings_of(f"{HOST}:{port}", authority.bundle)
    source = parse_source(f"https://{HOST}:{port}/videos/match.mp4", settings)
    client = open_source(source, "sig=abc", settings, guard=lets(Names("127.0.0.1"), LOCAL))
    with pytest.raises(SourceTooSlow):
        look_up(client, limit_s=0.5)


def test_a_source_that_trickles_its_header_for_ever_ends_at_the_deadline(
    receive: Any, authority: Authority
) -> None:
    receiver = receive(drip)
    look_up_in_vain(receiver.port, authority)
    assert receiver.connections <= 1  # the SDK does not try again after it


def test_a_source_that_never_ends_its_handshake_ends_at_the_deadline(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        look_up_in_vain(mute.getsockname()[1], authority)


def test_a_source_whose_faults_would_be_waited_out_ends_at_the_deadline(
    receive: Any, authority: Authority
) -> None:
    """Patient as activities are, the SDK would try for a minute."""
    look_up_in_vain(receive(say(503)).port, authority)


def trickle(peer: socket.socket) -> None:
    """A range of 128 KiB, a byte at a time and without an end."""
    with suppress(OSError):
        lines = ["HTTP/1.1 206 Said", "Content-Length: 131072", "Content-Range: bytes 0-131071/10000000"]
        peer.sendall("\r\n".join([*lines, *BLOB, "", ""]).encode())
        while True:
            peer.sendall(b"a")
            time.sleep(0.05)


def test_a_range_that_trickles_ends_below_the_least_pace(receive: Any, authority: Authority) -> None:
    receiver = receive(trickle)
    settings = settings_of(f"{HOST}:{receiver.port}", authority.bundle)
    source = parse_source(f"https://{HOST}:{receiver.port}/videos/match.mp4", settings)
    client = open_source(source, "sig=abc", settings, guard=lets(Names("127.0.0.1"), LOCAL))
    facts = BlobFacts(etag="0x1", length_bytes=10_000_000)
    reader = read_ranges(client, facts, pace=Pace(base_s=0.5, least_bytes_per_s=1 << 20))
    with pytest.raises(SourceTooSlow):
        reader.read(1)
    assert isinstance(reader.failure, SourceTooSlow)
    assert receiver.connections <= 1


def test_a_longer_range_may_take_longer() -> None:
    assert 12 == Pace(base_s=10, least_bytes_per_s=1000).limit_s(2000)


@pytest.mark.parametrize("sas", ["sig=abc", ""])
def test_the_own_account_has_the_deadline_too_on_a_connection_that_is_kept(sas: str) -> None:
    def once_well(peer: socket.socket) -> None:
        peer.sendall("\r\n".join(["HTTP/1.1 200 Said", "Content-Length: 7", *BLOB, "", ""]).encode())
        while b"\r\n\r\n" not in peer.recv(65536):
            pass
        drip(peer)

    with Receiver(once_well) as receiver:
        endpoint = f"http://127.0.0.1:{receiver.port}/ours"
        settings = Settings(
            storage=f"DefaultEndpointsProtocol=http;AccountName=ours;AccountKey=a2V5;BlobEndpoint={endpoint}"
        )
        client = open_source(parse_source(f"{endpoint}/videos/match.mp4", settings), sas, settings)
        assert "0x1" == look_up(client).etag
        with pytest.raises(SourceTooSlow):
            look_up(client, limit_s=0.5)
        assert 1 == receiver.connections
