"""Endpoint URLs: what a request is addressed to, and the URLs that no request is made for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.outcome import FailureKind
from orchestrator.engine.target import Target, Unreachable, read_url


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://app.test", Target(True, "app.test", 443, "/"), "app.test"),
        ("http://app.test", Target(False, "app.test", 80, "/"), "app.test"),
        ("HTTPS://App.TEST:443/a", Target(True, "app.test", 443, "/a"), "app.test"),
        ("https://app.test:80/a?b=c#d", Target(True, "app.test", 80, "/a?b=c"), "app.test:80"),
        ("http://[::1]:8080/x", Target(False, "::1", 8080, "/x"), "[::1]:8080"),
        ("http://[::1]", Target(False, "::1", 80, "/"), "[::1]"),
        ("http://app.test?a=b", Target(False, "app.test", 80, "/?a=b"), "app.test"),
        ("http://app.test/%7Ea/ü", Target(False, "app.test", 80, "/%7Ea/%C3%BC"), "app.test"),
        ("http://bücher.test/", Target(False, "xn--bcher-kva.test", 80, "/"), "xn--bcher-kva.test"),
        ("http://\uff11\uff12\uff17.0.0.1/", Target(False, "127.0.0.1", 80, "/"), "127.0.0.1"),
        ("http://a_b.test./", Target(False, "a_b.test.", 80, "/"), "a_b.test."),
    ],
)
def test_a_url_that_is_called(url: str, target: Target, authority: str) -> None:
    assert read_url(url) == target
    assert read_url(url).authority == authority


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "its scheme is 'missing'"),
        ("app.test/hook", "its scheme is 'missing'"),
        ("ftp://app.test/", "its scheme is 'ftp'"),
        ("file:///etc/passwd", "its scheme is 'file'"),
        ("https://user@app.test/", "user name or a password"),
        ("https://user:pass@app.test/", "user name or a password"),
        ("https://@app.test/", "user name or a password"),
        ("https://", "names no host"),
        ("https://:443/", "names no host"),
        ("https://app.test:0/", "port 0"),
        ("https://app.test:99999/", "Port out of range"),
        ("https://app.test:x/", "Port could not be cast"),
        ("https://[::1/", "Invalid IPv6 URL"),
        ("https://[nonsense]/", "does not appear to be an IPv4 or IPv6 address"),
        ("https://app.test\\@evil.test/", "characters that a URL cannot hold"),
        ("https://app.test/a b", "characters that a URL cannot hold"),
        ("https://app.test/\r\nHost: evil.test", "characters that a URL cannot hold"),
        ("https://app\t.test/", "characters that a URL cannot hold"),
        ("https://app.test/\x00", "characters that a URL cannot hold"),
        ("https://a,b.test/", "characters that a host name cannot hold"),
        ("https://" + "a" * 8_000, "too long"),
    ],
)
def test_a_url_that_is_not_called(url: str, reason: str) -> None:
    with pytest.raises(Unreachable, match=reason) as caught:
        read_url(url)

    assert caught.value.kind is FailureKind.ADDRESS_REFUSED


@given(st.one_of(st.text(max_size=60), st.text(max_size=40).map("https://".__add__)))
def test_any_text_is_a_plain_target_or_refused(url: str) -> None:
    try:
        target = read_url(url)
    except Unreachable:
        return
    line = f"POST {target.path} HTTP/1.1 {target.authority}"
    assert line.isascii()
    assert line.isprintable()
    assert line.count(" ") == 3
