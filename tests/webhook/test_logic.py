import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actors.core.errors import BadInputError
from actors.webhook.logic import (
    ATTEMPTS,
    check_url,
    literal_address,
    may_retry,
    next_attempt,
    refused_address,
    sign,
    wants,
)
from actors.webhook.models import ALL_EVENTS, Endpoint, EndpointKind, NewEndpoint, WebhookConfig


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/opencrate?x=1#y",
        "http://example.org:8080/",
        "https://93.184.215.14/hook",
        "https://[2606:4700::1111]/hook",
        "https://xn--bcher-kva.example/",
    ],
)
def test_public_addresses_are_taken(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///x",
        "example.org/hook",
        "https://user:pw@example.org/",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://exa mple.org/",
        "https://example.org\\@evil.example/",
        "https://example.org/\r\nX: y",
        "https://localhost/",
        "https://localhost./",
        "https://printer/",
        "https://nas.local/",
        "https://metadata.google.internal/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://0x7f.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[::1]/",
        "http://[::]/",
        "http://[fe80::1%25eth0]/",
        "http://[fd00::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2002:100::]/",
        "http://[64:ff9b::a00:1]/",
        "http://[64:ff9b:1::a00:1]/",
        "http://[::127.0.0.1]/",
        "http://[::ffff:0:7f00:1]/",
        "http://[fec0::1]/",
        "http://[3fff::1]/",
        "http://[4000::1]/",
        "http://192.0.0.8/",
        "http://-bad-.example/",
    ],
)
def test_everything_else_is_refused_by_field(url: str) -> None:
    with pytest.raises(BadInputError) as caught:
        check_url(url)
    assert caught.value.field == "url"


def test_an_allowed_network_is_let_through_and_no_other() -> None:
    allowed = ["10.1.0.0/16", "fd00:1::/32"]
    for url in ("http://10.1.2.3/", "http://[fd00:1::5]/", "http://167838211/", "http://cmms.local/hook"):
        assert check_url(url, allowed) == url
    for url in ("http://10.2.0.1/", "http://127.0.0.1/", "http://[fd00:2::5]/", "http://[::ffff:127.0.0.1]/"):
        with pytest.raises(BadInputError):
            check_url(url, allowed)


@given(st.ip_addresses(v=4))
def test_every_way_to_write_an_address_is_read_as_the_same(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    parts = str(address).split(".")
    octal = ".".join(f"0{int(part):o}" for part in parts)
    short = f"{parts[0]}.{number & 0xFFFFFF}"
    for text in (str(address), str(number), hex(number), octal, short, f"{address}."):
        assert literal_address(text) == address, text
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    assert (refused_address(mapped) is None) == (refused_address(address) is None)


@given(st.ip_addresses())
def test_only_what_is_globally_reachable_is_let_through(address: Any) -> None:
    if refused_address(address) is None:
        wrong = (address.is_private, address.is_loopback, address.is_link_local, address.is_multicast)
        assert not any(wrong)


def test_a_name_is_no_address() -> None:
    assert [literal_address(each) for each in ("example.org", "face.feed.example", "x:y")] == [None] * 3


def test_signatures_are_what_any_hmac_gives() -> None:
    # printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
    expected = "sha256=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
    found = sign("secret", 1_700_000_000, b'{"a":1}')
    assert found == expected
    assert found != sign("secret", 1_700_000_001, b'{"a":1}')
    assert found != sign("other", 1_700_000_000, b'{"a":1}')
    assert found != sign("secret", 1_700_000_000, b'{"a":2}')


def endpoint(**fields: Any) -> Endpoint:
    base: dict[str, Any] = {
        "id": 1,
        "name": "x",
        "kind": EndpointKind.GENERIC,
        "url": "https://x.example",
        "has_secret": False,
        "events": list(ALL_EVENTS),
        "severities": [],
        "tags": [],
        "sites": [],
        "enabled": True,
        "created_at": 0,
    }
    return Endpoint.model_validate(base | fields)


def test_filters_join_and_hold_only_for_what_an_event_has() -> None:
    def asked(event: str = "alarm_raised", severity: str | None = "high", **fields: Any) -> bool:
        return wants(endpoint(**fields), event, severity, frozenset({"air"}), "north")

    assert asked()
    assert asked(severities=["high"], tags=["air", "-water"], sites=["north"])
    assert asked("device_down", None, severities=["critical"])
    assert not asked(severities=["critical"])
    assert not asked(tags=["water"])
    assert not asked(tags=["-air"])
    assert not asked(sites=["south"])
    assert not asked(enabled=False)
    assert not asked("alarm_cleared", events=["alarm_raised"])
    assert not asked("value_changed")


def test_attempts_come_after_5_30_and_120_seconds() -> None:
    waits = [next_attempt(attempts, 1_000_000) for attempts in range(1, ATTEMPTS + 1)]
    assert waits == [1_005_000, 1_030_000, 1_120_000, None]
    assert [may_retry(each) for each in (None, 500, 503, 429, 408, 400, 404, 301)] == [True] * 5 + [False] * 3


def test_inputs_are_bounded_and_secrets_hidden() -> None:
    new = NewEndpoint(name="x", url="https://x.example", secret="s3cret")  # type: ignore[arg-type]
    assert "s3cret" not in repr(new) + new.model_dump_json()
    for wrong in ({"events": []}, {"events": ["value_changed"]}, {"severities": ["bad"]}, {"tags": ["a b"]}):
        with pytest.raises(ValidationError):
            NewEndpoint.model_validate({"name": "x", "url": "https://x.example"} | wrong)
    for network in ("10.0.0.1/8", "all", "10.0.0.0/99"):
        with pytest.raises(ValidationError, match="a network such as"):
            WebhookConfig(allowed_networks=[network])
