"""Which addresses no machine of the public internet has, by the tables of IANA. Nothing is sent anywhere."""

from __future__ import annotations

import ipaddress
import itertools
from pathlib import Path

import pytest

from milo.addresses import SPECIAL_V4, SPECIAL_V6, numeric_host, special_purpose
from milo.settings import Settings
from milo.webhooks import targets


@pytest.mark.parametrize("block", [*SPECIAL_V4, *SPECIAL_V6], ids=str)
def test_every_block_of_the_tables_is_special_from_its_first_address_to_its_last(
    block: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> None:
    for address in (block[0], block[-1], block[block.num_addresses // 2]):
        assert special_purpose(address), address


@pytest.mark.parametrize("inside", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.0.0.8", "100.64.0.1", "0.0.0.0"])
@pytest.mark.parametrize(
    "prefix",
    ["::ffff:0:0", "64:ff9b::", "64:ff9b:1::", "::", "::ffff:0:0:0", "2a00:1450::5efe:0:0", "2a00:1450::200:5efe:0:0"],
)
def test_an_embedded_ipv4_address_is_judged(prefix: str, inside: str) -> None:
    written = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(ipaddress.IPv4Address(inside)))
    assert special_purpose(written), written


def test_tunnels_are_refused_whatever_they_hold() -> None:
    for written in ("2002:7f00:1::1", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "64:ff9b:1::8.8.8.8"):
        assert special_purpose(ipaddress.ip_address(written)), written


@pytest.mark.parametrize(
    "written", ["8.8.8.8", "1.2.3.4", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_not_special(written: str) -> None:
    """A network with NAT64 reaches every receiver that has IPv4 alone by such an address."""
    assert special_purpose(ipaddress.ip_address(written)) is None


@pytest.mark.parametrize("written", ["4000::1", "1::1", "fd00::1", "fe80::1%eth0", "fec0::1", "fe00::1", "::2:0:0:1"])
def test_what_ipv6_has_not_allocated_to_the_public_is_special(written: str) -> None:
    assert special_purpose(ipaddress.ip_address(written))


SPELLINGS = ("2130706433", "0x7f000001", "0x7F.1", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.1.", "127.0.0.1..")


@pytest.mark.parametrize("host", SPELLINGS)
def test_every_spelling_that_the_resolver_takes_is_the_address(host: str) -> None:
    assert numeric_host(host) == ipaddress.ip_address("127.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        *(spelling for spelling in SPELLINGS),
        *("134744072", "8.8.8.8.", "0x8.0x8.0x8.0x8", "1.2.3.999", "1.2.3.4.5", "example.0x7f", "example.123"),
        *("[fe80::1%25eth0]", "[2a00:1450::1%25lo]", "[64:ff9b::7f00:1]", "[64:ff9b:1::808:808]", "[2002:7f00:1::]"),
        *("[::7f00:1]", "[::ffff:0:7f00:1]", "[fec0::1]", "192.0.0.8", "192.0.0.170", "[2001::1]", "[::ffff:10.0.0.1]"),
        *("%31%32%37.0.0.1", "127。0。0。1", "１２７.0.0.1", "①②⑦.0.0.1", "exa mple.org"),
    ],
)
def test_a_callback_to_it_is_refused_from_its_text_alone(tmp_path: Path, host: str) -> None:
    with pytest.raises(targets.Refused):
        targets.check_url(Settings(home=tmp_path, _env_file=None), f"http://{host}/")


def test_control_and_format_characters_are_refused_anywhere_in_a_callback(tmp_path: Path) -> None:
    for sign in ("\x9b", "\u202e", "\u2066", "\u2028", "\x1b"):
        with pytest.raises(targets.Refused) as refused:
            targets.check_url(Settings(home=tmp_path, _env_file=None), f"https://example.org/{sign}2J")
        assert sign not in refused.value.detail


def test_the_operator_allows_by_network_or_by_name(tmp_path: Path) -> None:
    allow = ["10.0.0.0/8", "64:ff9b::/96", "Inside.example", "fec0::/10"]
    settings = Settings(home=tmp_path, webhook_allow=allow, _env_file=None)
    for host in ("10.1.2.3", "[::ffff:10.1.2.3]", "[64:ff9b::c0a8:1]", "[fec0::1]", "inside.example."):
        targets.check_url(settings, f"http://{host}/")
    for host, scheme in itertools.product(("192.168.1.1", "[64:ff9b:1::1]"), ("http", "https")):
        with pytest.raises(targets.Refused):
            targets.check_url(settings, f"{scheme}://{host}/")
