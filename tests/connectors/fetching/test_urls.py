"""What an address is, which are one, and which machines are nobody's to ask: pure."""

from __future__ import annotations

import pytest

from connectors.fetching.addresses import why_refused
from connectors.fetching.urls import URL_CHARS_MAX, host_of, normalise, origin_of, path_of


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("HTTP://A.Example:80/x/../b#part", "http://a.example/b"),
        ("https://a.example:443", "https://a.example/"),
        ("http://a.example./", "http://a.example/"),
        ("http://a.example?x=1", "http://a.example/?x=1"),
        ("http://münchen.example/ü?q=ü", "http://xn--mnchen-3ya.example/%C3%BC?q=%C3%BC"),
        ("http://a.example/?b=2&a=1&utm_source=x&gclid=1", "http://a.example/?b=2&a=1"),
        ("//b.example/c", "http://b.example/c"),
        ("?page=2", "http://base.example/d/e?page=2"),
        ("../f", "http://base.example/f"),
        ("http://[2606:4700::1111]:8080/", "http://[2606:4700::1111]:8080/"),
    ],
)
def test_two_forms_of_one_address_are_one(text: str, normal: str) -> None:
    assert normalise(text, "http://base.example/d/e") == normal
    assert normalise(normal) == normal


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("javascript:alert(1)", "http and https"),
        ("ftp://a.example/", "http and https"),
        ("file:///etc/passwd", "http and https"),
        ("data:text/html,x", "http and https"),
        ("http://", "address"),
        ("/only/a/path", "http and https"),
        ("http://user:secret@a.example/", "credentials"),
        ("http://user@a.example/", "credentials"),
        ("http://a.example:25/", "port 25"),
        ("http://a.example:99999/", "no address"),
        ("http://a%2eb/", "http and https"),
        ("http://2130706433/", "http and https"),
        ("http://127.1/", "http and https"),
        ("http://[fe80::1%25eth0]/", "http and https"),
        ("http://a.example\\@b.example/", "no address"),
        (f"http://a.example/{'x' * URL_CHARS_MAX}", "2048 characters"),
        (f"http://a.example/{'ü' * 1_000}", "2048 characters"),
    ],
)
def test_what_is_no_address_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        normalise(text)


def test_the_parts_of_an_address() -> None:
    url = normalise("https://a.example:8443/b/c?d=e")
    assert (host_of(url), origin_of(url), path_of(url)) == ("a.example", "https://a.example:8443", "/b/c?d=e")


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
        *("172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1"),
        *("198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
        *("::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1"),
        *("100::1", "2001::1", "2001:db8::1", "2002:a00:1::", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1"),
        *("fe80::1%eth0", "fec0::1", "ff02::1", "5f00::1", "", "a.example", "8.8.8"),
    ],
)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert why_refused(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_what_is_public_is_not(address: str) -> None:
    assert why_refused(address) == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "fd00::1", "::1"])
def test_a_private_address_is_for_names_that_settings_allow(address: str) -> None:
    assert why_refused(address)
    assert why_refused(address, private=True) == ""


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "0.0.0.0"]
)
def test_what_hands_out_credentials_is_for_nobody(address: str) -> None:
    assert why_refused(address, private=True)
