"""Which hosts and which addresses may be connected to."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import HostNotAllowed
from shared.network import Endpoint, Guard, is_listed, parse_endpoint
from shared.network.addresses import is_public, resolve


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/path",
        "https://HOOKS.example.com:443/path",
        "\thttps://hooks.exa\nmple.com/path",  # as every browser and urlsplit read it
    ],
)
def test_a_plain_https_url_names_its_endpoint(url: str) -> None:
    endpoint, parts = parse_endpoint(url)
    assert endpoint == Endpoint("https", "hooks.example.com", 443)
    assert endpoint.origin == "https://hooks.example.com"
    assert parts.path == "/path"


def test_http_is_for_this_machine_only() -> None:
    assert parse_endpoint("http://127.0.0.1:8080/")[0].origin == "http://127.0.0.1:8080"
    with pytest.raises(ValueError, match="must begin with https"):
        parse_endpoint("http://hooks.example.com/")


@pytest.mark.parametrize(
    "url",
    [
        "https://user@hooks.example.com/",
        "https://user:word@hooks.example.com/",
        "https://hooks.example.com@169.254.169.254/",
        "https://169.254.169.254\\@hooks.example.com/",
        "https://169.254.169.254\\.hooks.example.com/",
        "https://hooks.example.com./",
        "https://hooks..example.com/",
        "https://.example.com/",
        "https://-hooks.example.com/",
        "https://hooks-.example.com/",
        f"https://{'a' * 64}.example.com/",
        f"https://{'a.' * 127}com/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.01/",
        "https://127.0.0.0x1/",
        "https://1.2.3.4.5/",
        "https://256.0.0.1/",
        "https://hooks.example.0x/",
        "https://bücher.example/",
        "https://hooks。example.com/",
        "https://①②⑦.⓪.⓪.①/",
        "https://hooks.example.com%2f.evil.net/",
        "https://hooks.example.com%00.evil.net/",
        "https://hooks_example.com/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:65536/",
        "https://hooks.example.com:+443/",
        "https://hooks.example.com:443:443/",
        "https://hooks.example.com:/",
        "https:///path",
        "https:hooks.example.com",
        "//hooks.example.com/",
        "gopher://hooks.example.com/",
        "file:///etc/passwd",
        "",
    ],
)
def test_what_parsers_may_read_differently_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|cannot be parsed"):
        parse_endpoint(url)


@given(st.text())
@example("https://[")
@example("https://\u2100.example/")
def test_any_text_is_an_endpoint_or_a_refusal_that_does_not_repeat_it(text: str) -> None:
    refusal = "must "
    try:
        endpoint, _ = parse_endpoint(text)
        assert endpoint == parse_endpoint(endpoint.origin + "/x?y")[0]
    except ValueError as refused:
        refusal = str(refused)
    assert refusal.startswith(("must ", "cannot "))
    assert len(refusal) < 60


@pytest.mark.parametrize(
    ("url", "on_the_list"),
    [
        ("https://hooks.example.com/", True),
        ("https://hooks.example.com:8443/", False),
        ("https://a.b.example.net/", True),
        ("https://example.net/", False),
        ("https://evilexample.net/", False),
        ("https://hooks.example.com.evil.net/", False),
        ("https://xn--bcher-kva.example/", True),
        ("https://ported.example.com:8443/", True),
        ("https://ported.example.com/", False),
        ("http://127.0.0.1:8080/", True),
        ("http://127.0.0.1:8081/", False),
    ],
)
def test_patterns_match_whole_names_and_one_port(url: str, on_the_list: bool) -> None:
    patterns = (
        "Hooks.Example.com",
        "*.example.net",
        "xn--bcher-kva.example",
        "ported.example.com:8443",
        "127.0.0.1:8080",
        "*",
    )
    assert is_listed(parse_endpoint(url)[0], patterns) is on_the_list


PUBLIC = ["8.8.8.8", "20.60.1.2", "2606:4700::1111", "2a01:111::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
NOT_PUBLIC = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


def test_public_addresses_are_public_and_the_others_are_not() -> None:
    assert [text for text in PUBLIC if is_public(ip_address(text))] == PUBLIC
    assert [text for text in NOT_PUBLIC if is_public(ip_address(text))] == []


@given(st.ip_addresses(v=4))
def test_an_address_in_ipv6_clothes_is_judged_by_what_is_inside(address: IPv4Address) -> None:
    for clothes in ("::ffff:0:0", "64:ff9b::"):
        dressed = IPv6Address(int(IPv6Address(clothes)) | int(address))
        assert is_public(dressed) is is_public(address)


@given(st.ip_addresses(v=4).filter(lambda address: not address.is_global or address.is_multicast))
def test_what_python_calls_private_is_never_public_here(address: IPv4Address) -> None:
    assert not is_public(address)


def guard(*answers: str, networks: tuple[str, ...] = ()) -> Guard:
    return Guard(tuple(map(ip_network, networks)), lambda _host, _port: answers)


def test_a_host_of_public_addresses_may_be_connected_to_at_each_of_them() -> None:
    assert guard("8.8.8.8", "2606:4700::1111").addresses("h.example", 443) == ["8.8.8.8", "2606:4700::1111"]


@pytest.mark.parametrize("text", [*NOT_PUBLIC, "fe80::1%eth0", "2606:4700::1%eth0", "nonsense", ""])
def test_one_address_that_is_not_public_refuses_the_host(text: str) -> None:
    for answers in ((text,), ("8.8.8.8", text)):
        with pytest.raises(HostNotAllowed) as refused:
            guard(*answers).addresses("h.example", 443)
        assert "h.example" in refused.value.message
        assert text not in refused.value.message or not text


def test_a_listed_network_may_be_connected_to_in_any_clothes_and_no_other() -> None:
    for inside in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00:1::7", "8.8.8.8"):
        assert guard(inside, networks=("10.1.0.0/16", "fd00:1::/32")).addresses("h.example", 443) == [inside]
    for outside in ("10.2.0.1", "fd00:2::7", "169.254.169.254", "127.0.0.1"):
        with pytest.raises(HostNotAllowed):
            guard(outside, networks=("10.1.0.0/16", "fd00:1::/32")).addresses("h.example", 443)


def test_this_machine_is_reached_by_its_own_names_only() -> None:
    assert guard("127.0.0.1", "::1").addresses("localhost", 80) == ["127.0.0.1", "::1"]
    with pytest.raises(HostNotAllowed):
        guard("10.0.0.1").addresses("localhost", 80)
    with pytest.raises(HostNotAllowed):
        guard("127.0.0.1").addresses("localhost.example", 80)


def test_a_host_without_an_address_is_unknown() -> None:
    with pytest.raises(socket.gaierror):
        guard().addresses("h.example", 443)


@pytest.mark.parametrize("spelling", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
def test_the_resolver_of_the_system_gives_numbers_away(spelling: str) -> None:
    """parse_endpoint refuses all but the first; whatever else came through would still be seen."""
    with suppress(socket.gaierror):  # some systems know fewer spellings
        assert resolve(spelling, 80) == ["127.0.0.1"]
    with pytest.raises((HostNotAllowed, socket.gaierror)):
        Guard().addresses(spelling if spelling != "127.0.0.1" else "127.0.0.1.", 80)
