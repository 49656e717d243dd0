"""Standard Webhooks: signatures, bodies, receivers, back-off."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.callbacks import attempt_delivery, payload, validate_callback, verify
from shared.callbacks.receivers import Callback
from shared.callbacks.sending import BACKOFF_S, backoff_s, retry_after_s
from shared.callbacks.signing import sign
from shared.contracts import Delivery
from shared.errors import BadCallback, CallbackNotAllowed
from shared.network import Endpoint, Guard, Patience
from shared.settings import Settings, webhook_key
from tests.support.receivers import HASTY, PATIENT, Play, Receiver, drip, reset, say, silence

# The example that the libraries of Standard Webhooks all test themselves with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'
STAMP = 1614265330
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

NEW_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
API = Path(__file__).resolve().parents[3] / "docs" / "api.md"


def settings(hosts: str = "hooks.example.com, *.example.net", secrets: str = SECRET) -> Settings:
    given: dict[str, Any] = {"callback_hosts": hosts, "callback_secrets": secrets}
    return Settings(storage="UseDevelopmentStorage=true", **given)


def headers(secrets: list[str], message: str, stamp: int, body: bytes) -> dict[str, str]:
    return {
        "webhook-id": message,
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(secrets, message, stamp, body),
    }


# ---------------------------------------------------------------- signatures


def test_the_published_example_has_the_published_signature() -> None:
    assert sign([SECRET], MESSAGE, STAMP, BODY) == SIGNATURE


def test_each_secret_signs_so_that_one_can_be_replaced() -> None:
    both = sign([NEW_SECRET, SECRET], MESSAGE, STAMP, BODY)
    assert both == f"{sign([NEW_SECRET], MESSAGE, STAMP, BODY)} {SIGNATURE}"


@pytest.mark.parametrize("secret", [SECRET, NEW_SECRET])
def test_another_implementation_accepts_what_we_sign(secret: str) -> None:
    body = payload("job.completed", datetime.now(UTC), {"id": "m-1", "name": "Müller – “Tor”"})
    sent = headers([NEW_SECRET, SECRET], "m-1", int(datetime.now(UTC).timestamp()), body)
    assert standardwebhooks.Webhook(secret).verify(body, sent)["data"]["name"] == "Müller – “Tor”"


secrets = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())
ids = st.from_regex(r"[a-z0-9-]{1,80}", fullmatch=True)
stamps = st.integers(0, 10**10)


@given(st.lists(secrets, min_size=1, max_size=3), ids, stamps, st.binary(), st.integers(-300, 300))
def test_what_is_signed_verifies_with_any_of_its_secrets(
    keys: list[str], message: str, stamp: int, body: bytes, late_s: int
) -> None:
    now = datetime.fromtimestamp(stamp, UTC) + timedelta(seconds=late_s)
    sent = headers(keys, message, stamp, body)
    assert all(verify([key], sent, body, now) for key in keys)
    assert verify([NEW_SECRET, keys[-1]], sent, body, now)


@given(secrets, secrets, ids, ids, stamps, stamps, st.binary(), st.binary(), st.data())
def test_any_change_breaks_a_signature(
    key: str,
    other_key: str,
    message: str,
    other_message: str,
    stamp: int,
    other_stamp: int,
    body: bytes,
    other_body: bytes,
    data: st.DataObject,
) -> None:
    now = datetime.fromtimestamp(stamp, UTC)
    sent = headers([key], message, stamp, body)

    def holds(key: str = key, body: bytes = body, at: datetime = now, **changed: str) -> bool:
        named = {name.replace("_", "-"): value for name, value in changed.items()}
        return verify([key], {**sent, **named}, body, at)

    assert holds()
    assert holds(key=other_key) is (other_key == key)
    assert holds(webhook_id=other_message) is (other_message == message)
    assert holds(body=other_body) is (other_body == body)
    changed_at = datetime.fromtimestamp(other_stamp, UTC)
    assert holds(webhook_timestamp=str(other_stamp), at=changed_at) is (other_stamp == stamp)
    assert not holds(at=now + timedelta(seconds=301))
    assert not holds(at=now - timedelta(seconds=301))
    at = data.draw(st.integers(0, len("v1,") + 31))  # the last characters of base64 hold spare bits
    signature = sent["webhook-signature"]
    assert not holds(webhook_signature=signature[:at] + "~" + signature[at + 1 :])


@pytest.mark.parametrize(
    "without", [{"webhook-id": ""}, {"webhook-timestamp": ""}, {"webhook-signature": ""}]
)
@pytest.mark.parametrize("value", ["", "hello", "v1,", "-1", "v1a,x", "１２"])
def test_headers_that_are_missing_or_make_no_sense_do_not_verify(without: dict[str, str], value: str) -> None:
    now = datetime.fromtimestamp(STAMP, UTC)
    sent = headers([SECRET], MESSAGE, STAMP, BODY)
    assert verify([SECRET], sent, BODY, now)
    assert not verify([SECRET], {**sent, **dict.fromkeys(without, value)}, BODY, now)
    assert not verify([SECRET], {}, BODY, now)
    assert not verify([SECRET], {**sent, "webhook-signature": f"v2,{SIGNATURE[3:]} v1,"}, BODY, now)


def test_a_body_is_compact_and_the_same_each_time() -> None:
    at = datetime(2026, 11, 27, 23, 5, 7, 123456, UTC)
    body = payload("job.failed", at, {"id": "m-1", "error": None})
    assert body == (
        b'{"type":"job.failed","timestamp":"2026-11-27T23:05:07.123+00:00","data":{"id":"m-1","error":null}}'
    )


def test_the_receiver_in_the_documentation_accepts_what_we_send_and_nothing_else(tmp_path: Path) -> None:
    code = API.read_text().split("```python\n")[1].split("```")[0]
    program = tmp_path / "receiver.py"
    program.write_text(
        code
        + "import json, sys\n"
        + "given = json.load(sys.stdin)\n"
        + "for headers, body in given['asked']:\n"
        + "    print(is_ours(given['secret'], headers, body.encode()))\n"
    )
    body = payload("job.completed", datetime.now(UTC), {"id": "m-1"})
    stamp = int(datetime.now(UTC).timestamp())
    good = headers([NEW_SECRET, SECRET], "m-1", stamp, body)
    old = headers([SECRET], "m-1", stamp - 400, body)
    asked = [(good, body.decode()), (good, body.decode() + " "), (old, body.decode())]
    asked.append(({**good, "webhook-id": "m-2"}, body.decode()))
    printed = subprocess.run(
        [sys.executable, str(program)],
        input=json.dumps({"secret": SECRET, "asked": asked}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.split() == ["True", "False", "False", "False"]


# ---------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    "secret",
    ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_c2hvcnQ=", "whsec_!!", "whsec_" + "A" * 92],
)
def test_a_secret_of_another_form_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        webhook_key(secret)
    if secret:
        with pytest.raises(ValidationError) as refused:
            settings(secrets=f"{SECRET},{secret}")
        assert SECRET not in str(refused.value)
        assert len(secret) < 8 or secret not in str(refused.value)
        assert "callback_secrets" in str(refused.value)


def test_settings_do_not_show_their_secrets() -> None:
    assert SECRET not in repr(settings())
    assert [
        value.get_secret_value() for value in settings(secrets=f"{SECRET}, {NEW_SECRET}").callback_secrets
    ] == [
        SECRET,
        NEW_SECRET,
    ]


# ---------------------------------------------------------------- receivers


def test_a_receiver_on_the_list_is_parted_into_what_is_shown_and_what_is_not() -> None:
    callback = validate_callback(settings(), "https://Hooks.example.com:443/a%2Fb;c?token=x&y=%20#there")
    assert callback.url == "https://hooks.example.com/a%2Fb;c"
    assert callback.target == "/a%2Fb;c?token=x&y=%20"
    assert callback.query == "token=x&y=%20"
    assert "token" not in repr(callback)
    assert validate_callback(settings(), callback.url + "?" + callback.query) == callback
    assert validate_callback(settings(), "https://hooks.example.com").target == "/"


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "https://user:word@hooks.example.com/",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/a\\b",
        "https://hooks.example.com/ü",
        "https://hooks.example.com/?a=ü",
        'https://hooks.example.com/"',
        "https://hooks.example.com./",
        "ftp://hooks.example.com/",
        "nonsense",
    ],
)
def test_what_is_no_receiver_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(BadCallback) as refused:
        validate_callback(settings(), url)
    assert url not in refused.value.message


@pytest.mark.parametrize(
    ("url", "configured"),
    [
        ("https://evil.example.com/", settings()),
        ("https://hooks.example.com:8443/", settings()),
        ("https://169.254.169.254/latest", settings()),
        ("http://127.0.0.1/", settings()),
        ("https://hooks.example.com/", settings(hosts="")),
        ("https://hooks.example.com/", settings(secrets="")),
        ("https://hooks.example.com/", Settings(storage="UseDevelopmentStorage=true")),
    ],
)
def test_a_receiver_that_is_not_configured_is_not_allowed(url: str, configured: Settings) -> None:
    with pytest.raises(CallbackNotAllowed) as refused:
        validate_callback(configured, url)
    assert (refused.value.code, refused.value.status) == ("callback_not_allowed", 403)


@given(st.text())
def test_any_text_is_a_receiver_or_a_clear_refusal(text: str) -> None:
    for url in (text, f"https://hooks.example.com/{text}"):
        try:
            callback = validate_callback(settings(), url)
        except (BadCallback, CallbackNotAllowed):
            continue
        assert callback.endpoint == Endpoint("https", "hooks.example.com", 443)
        assert callback.target.isascii()
        assert callback.target.isprintable()


# ---------------------------------------------------------------- attempts


def test_each_wait_is_what_the_table_says_and_up_to_a_tenth_more() -> None:
    for number, least_s in enumerate(BACKOFF_S, 1):
        waits = {backoff_s(f"m-{n}", number) or 0 for n in range(750)}
        assert least_s <= min(waits)
        assert max(waits) <= least_s * 11 // 10
        assert len(waits) >= min(60, max(1, least_s // 10))  # spread, from where there is a second to spread
    assert backoff_s("m-1", len(BACKOFF_S) + 1) is None
    assert backoff_s("m-1", 5) == backoff_s("m-1", 5)


NOW = datetime(2026, 11, 27, 22, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("120", 120),
        (" 120 ", 120),
        ("86400", 4 * 3600),
        ("9" * 4000, 4 * 3600),
        ("-5", 0),
        ("1e9", 0),
        ("soon", 0),
        ("１２０", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), 4 * 3600),
        (format_datetime(NOW - timedelta(days=9), usegmt=True), 0),
        ("Fri, 99 Nov 2026 99:00:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_has_a_limit(text: str | None, seconds: int) -> None:
    assert retry_after_s(text, NOW) == seconds


@given(st.text())
def test_any_retry_after_is_a_wait_within_the_limit(text: str) -> None:
    assert 0 <= retry_after_s(text, NOW) <= 4 * 3600


def send(receiver: Receiver, number: int = 1, patience: Patience = PATIENT) -> Delivery:
    callback = Callback(Endpoint("http", "127.0.0.1", receiver.port), "/hooks", "token=x")
    return attempt_delivery(settings(), callback, "m-1", number, BODY, NOW, patience=patience)


def test_a_delivery_carries_the_three_headers_and_is_the_last() -> None:
    with Receiver(say(202)) as receiver:
        assert send(receiver) == Delivery(
            attempt=1, at="2026-11-27T22:00:00.000+00:00", status=202, error=None, next_s=None
        )
    (asked,) = receiver.asked
    assert (asked.method, asked.target, asked.body) == ("POST", "/hooks?token=x", BODY)
    assert asked.headers["webhook-id"] == "m-1"
    assert asked.headers["content-type"] == "application/json"
    assert verify([SECRET], asked.headers, asked.body, NOW)


@pytest.mark.parametrize(
    ("play", "status", "error", "next_s"),
    [
        (say(200), 200, None, None),
        (say(299), 299, None, None),
        (say(301, "Location: /other"), 301, None, 5),
        (say(400), 400, None, 5),
        (say(404), 404, None, 5),
        (say(410), 410, None, None),
        (say(410, "Retry-After: 9"), 410, None, None),
        (say(429, "Retry-After: 77"), 429, None, 77),
        (say(503, "Retry-After: 1"), 503, None, 5),
        (say(503, "Retry-After: 999999"), 503, None, 4 * 3600),
        (say(500), 500, None, 5),
        (reset, None, "broken_answer", 5),
        (silence, None, "timeout", 5),
        (drip, None, "timeout", 5),
    ],
)
def test_what_the_receiver_does_says_what_comes_next(
    play: Play, status: int | None, error: str | None, next_s: int | None
) -> None:
    with Receiver(play) as receiver:
        made = send(receiver, patience=HASTY if error == "timeout" else PATIENT)
    assert (made.status, made.error, made.next_s) == (status, error, next_s)
    assert len(receiver.asked) == 1


def test_after_the_last_attempt_there_is_no_next() -> None:
    with Receiver(say(500, "Retry-After: 60")) as receiver:
        assert send(receiver, len(BACKOFF_S)).next_s is not None
        assert send(receiver, len(BACKOFF_S) + 1).next_s is None


def test_a_receiver_whose_address_is_not_public_is_written_down_and_gets_nothing() -> None:
    callback = Callback(Endpoint("https", "hooks.example.com", 443), "/", "")
    guard = Guard((), lambda _host, _port: ["169.254.169.254"])
    made = attempt_delivery(settings(), callback, "m-1", 1, BODY, NOW, guard, PATIENT)
    assert (made.status, made.error, made.next_s) == (None, "host_not_allowed", 5)
