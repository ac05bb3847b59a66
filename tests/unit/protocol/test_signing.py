"""Signatures: fixed vectors, and agreement with the reference library in both directions."""

import base64
from datetime import UTC, datetime

import pytest
import standardwebhooks

from app_sdk.protocol.signing import (
    SignatureError,
    Signer,
    generate_secret,
    rmd_signature,
    sign,
    verify,
    webhook_signature,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
STANDARD_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_standard_signature_of_the_published_example() -> None:
    assert webhook_signature(SECRET, MESSAGE_ID, TIMESTAMP, BODY) == STANDARD_SIGNATURE


@pytest.mark.parametrize(
    ("secret", "signature"),
    [
        ("s3cret", "17db78689dcba1572d42dfdc8a61b169b291c1ea3ee9c169d78d9fe57c2bc55d"),
        (SECRET, "80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c"),
    ],
)
def test_the_rimdian_signature_of_fixed_examples(secret: str, signature: str) -> None:
    assert rmd_signature(secret, BODY) == signature


def test_a_request_carries_four_headers() -> None:
    assert sign(SECRET, MESSAGE_ID, TIMESTAMP, BODY) == {
        "X-Rmd-Signature": rmd_signature(SECRET, BODY),
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": STANDARD_SIGNATURE,
    }


@pytest.mark.parametrize(
    "secret",
    [generate_secret(), SECRET, "any secret, even caf\u00e9", "whsec_not base64"],
    ids=["generated", "whsec", "plain", "not base64"],
)
def test_the_reference_library_accepts_our_signature(secret: str) -> None:
    now = int(datetime.now(UTC).timestamp())
    library = standardwebhooks.Webhook(_for_the_library(secret))
    assert library.verify(BODY.decode(), sign(secret, "msg_1", now, BODY)) == {"test": 2432232314}


@pytest.mark.parametrize("secret", [generate_secret(), "any secret"], ids=["generated", "plain"])
def test_we_accept_the_signature_of_the_reference_library(secret: str) -> None:
    library = standardwebhooks.Webhook(_for_the_library(secret))
    signature = library.sign("msg_1", datetime.fromtimestamp(TIMESTAMP, UTC), BODY.decode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(TIMESTAMP), "webhook-signature": signature}
    verify(secret, headers, BODY, TIMESTAMP)


def _for_the_library(secret: str) -> str:
    is_standard = secret.startswith("whsec_") and " " not in secret
    return secret if is_standard else base64.b64encode(secret.encode()).decode()


def _headers(**changes: str) -> dict[str, str]:
    standard = {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": str(TIMESTAMP),
        "webhook-signature": STANDARD_SIGNATURE,
    }
    return standard | {name.replace("_", "-"): value for name, value in changes.items()}


@pytest.mark.parametrize(
    "headers",
    [
        _headers(),
        {name.upper(): value for name, value in _headers().items()},
        {name.title(): value for name, value in _headers().items()},
        _headers(webhook_signature=f"v1,AAAA {STANDARD_SIGNATURE} v2,x"),
        _headers() | {"X-Rmd-Signature": "wrong, and not looked at"},
        {"x-rmd-signature": rmd_signature(SECRET, BODY)},
        {"X-RMD-SIGNATURE": rmd_signature(SECRET, BODY)},
    ],
)
def test_a_genuine_request_passes(headers: dict[str, str]) -> None:
    verify(SECRET, headers, BODY, now=TIMESTAMP + 300)
    verify(SECRET, headers, BODY, now=TIMESTAMP - 300)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "has neither"),
        ({"x-rmd-signature": ""}, "X-Rmd-Signature does not match"),
        ({"x-rmd-signature": rmd_signature("another", BODY)}, "X-Rmd-Signature does not match"),
        ({"x-rmd-signature": "\u00e9\ud800"}, "X-Rmd-Signature does not match"),
        (_headers(webhook_signature="v1,AAAA"), "webhook-signature does not match"),
        (_headers(webhook_signature="no comma"), "webhook-signature does not match"),
        (_headers(webhook_signature=STANDARD_SIGNATURE[3:]), "webhook-signature does not match"),
        (_headers(webhook_signature=" "), "webhook-signature does not match"),
        (_headers(webhook_id="msg_2"), "webhook-signature does not match"),
        (_headers(webhook_timestamp="1614265331"), "webhook-signature does not match"),
        (_headers(webhook_timestamp="soon"), "webhook-timestamp is not a number"),
        (_headers(webhook_timestamp="-5"), "webhook-timestamp is not a number"),
        (_headers(webhook_timestamp="\u0661"), "webhook-timestamp is not a number"),
        (_headers(webhook_timestamp="9" * 5000), "webhook-timestamp is not a number"),
        (_headers(webhook_id=""), "webhook-id is missing"),
        (
            {"webhook-id": MESSAGE_ID, "x-rmd-signature": rmd_signature(SECRET, BODY)},
            "webhook-timestamp is missing",
        ),
        (
            {"webhook-signature": STANDARD_SIGNATURE, "x-rmd-signature": rmd_signature(SECRET, BODY)},
            "webhook-id is missing",
        ),
    ],
)
def test_a_false_request_is_refused_with_the_reason(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        verify(SECRET, headers, BODY, TIMESTAMP)


@pytest.mark.parametrize(("now", "reason"), [(TIMESTAMP + 301, "too old"), (TIMESTAMP - 301, "too far in the future")])
def test_a_request_of_another_time_is_refused(now: int, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        verify(SECRET, _headers(), BODY, now)


@pytest.mark.parametrize("body", [BODY + b" ", b""])
def test_a_changed_body_is_refused(body: bytes) -> None:
    for headers in (_headers(), {"x-rmd-signature": rmd_signature(SECRET, BODY)}):
        with pytest.raises(SignatureError):
            verify(SECRET, headers, body, TIMESTAMP)


def test_secrets_are_long_and_never_the_same() -> None:
    secrets = {generate_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}


def test_an_empty_secret_signs_nothing() -> None:
    with pytest.raises(ValueError, match="the secret is empty"):
        rmd_signature("", BODY)
    with pytest.raises(ValueError, match="the secret is empty"):
        webhook_signature("", MESSAGE_ID, TIMESTAMP, BODY)


def test_one_signer_signs_any_number_of_bodies() -> None:
    signer = Signer(SECRET)
    for body in (BODY, b"", b"x" * 5000, BODY):
        assert signer.sign(MESSAGE_ID, TIMESTAMP, body) == sign(SECRET, MESSAGE_ID, TIMESTAMP, body)
    assert signer.webhook_signature(MESSAGE_ID, TIMESTAMP, BODY) == STANDARD_SIGNATURE
