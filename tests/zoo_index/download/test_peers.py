"""Where a server may lead: by the address that is connected to, in every form of it."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from onnxzoo.registry.core.errors import Refused, RemoteError
from onnxzoo.zoo_index.download.download import download
from onnxzoo.zoo_index.download.peers import GLOBAL, Hops, kind_of, kind_of_host
from onnxzoo.zoo_index.download.response import Limits
from tests.faults.places import mounted
from tests.support.servers import Proxy, Server, endless, to

CONTENT = {"/m.onnx": b"x"}
QUICK = Limits(connect=2, read=2, attempts=1)
MACHINE, PRIVATE, LINK = (kind_of(text) for text in ("127.0.0.1", "10.0.0.1", "169.254.0.1"))


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("93.184.215.14", GLOBAL),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", GLOBAL),
        ("127.0.0.1", MACHINE),
        ("127.8.8.8", MACHINE),
        ("0.0.0.0", MACHINE),
        ("::1", MACHINE),
        ("::", MACHINE),
        ("::ffff:127.0.0.1", MACHINE),
        ("10.0.0.1", PRIVATE),
        ("172.16.0.1", PRIVATE),
        ("192.168.1.1", PRIVATE),
        ("100.64.0.1", PRIVATE),
        ("224.0.0.1", PRIVATE),
        ("fd12::1", PRIVATE),
        ("::ffff:10.0.0.1", PRIVATE),
        ("2002:a00:1::", PRIVATE),  # 6to4 of 10.0.0.1
        ("64:ff9b::a00:1", PRIVATE),  # NAT64 of 10.0.0.1
        ("::10.0.0.1", PRIVATE),
        ("169.254.169.254", LINK),
        ("::ffff:169.254.169.254", LINK),
        ("64:ff9b::a9fe:a9fe", LINK),
        ("fe80::1%eth0", LINK),
        ("100.100.100.200", LINK),
        ("168.63.129.16", LINK),
        ("192.0.0.192", LINK),
        ("fd00:ec2::254", LINK),
    ],
)
def test_an_address_has_its_kind_in_every_form(address: str, kind: str) -> None:
    assert kind_of(address) == kind


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("localhost", MACHINE),
        ("LOCALHOST.", MACHINE),
        ("a.localhost", MACHINE),
        ("2130706433", MACHINE),
        ("0x7f.1", MACHINE),
        ("127.1", MACHINE),
        ("[::1]", MACHINE),
        ("0251.0376.0251.0376", LINK),
        ("10.1", PRIVATE),
        ("example.org", GLOBAL),
        ("xn--bcher-kva.example", GLOBAL),
    ],
)
def test_a_host_that_a_proxy_looks_up_has_the_kind_of_its_text(host: str, kind: str) -> None:
    assert kind_of_host(host) == kind


@pytest.mark.parametrize("first", [GLOBAL, MACHINE, PRIVATE, LINK])
@pytest.mark.parametrize("then", [GLOBAL, MACHINE, PRIVATE, LINK])
def test_only_the_internet_and_the_same_network_are_led_to(first: str, then: str) -> None:
    hops = Hops()
    hops.check("first", first, encrypted=True)
    if then in {first, GLOBAL}:
        hops.check("then", then, encrypted=True)
        hops.check("again", then, encrypted=True)
    else:
        with pytest.raises(Refused, match=f"a server on {first} leads to `then` on {then}"):
            hops.check("then", then, encrypted=True)
    hops.start()
    hops.check("another request", then, encrypted=False)


def test_the_users_own_network_is_not_left_without_encryption() -> None:
    hops = Hops()
    hops.check("first", PRIVATE, encrypted=True)
    with pytest.raises(Refused, match="on the internet without encryption"):
        hops.check("then", GLOBAL, encrypted=False)


@pytest.fixture
def private() -> Iterator[socket.socket]:
    """Give a listener at an address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            address = probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no network")
    with socket.create_server((address, 0)) as listener:
        listener.settimeout(5)
        yield listener


@pytest.mark.parametrize("form", ["{}", "[::ffff:{}]"])
def test_nothing_is_asked_of_where_a_redirect_may_not_lead(
    private: socket.socket, tmp_path: Path, form: str
) -> None:
    address, port = private.getsockname()
    with Server(CONTENT) as server:
        server.strike(to(f"http://{form.format(address)}:{port}/m.onnx"))
        with pytest.raises(Refused, match=r"leads to `.*` on .*, which is not followed") as caught:
            download(f"{server.url}/m.onnx", tmp_path / "x.part", sha256=None, size=1, limits=QUICK)
    assert caught.value.hint == "name that address yourself if it is what you want"
    connection, _ = private.accept()
    with connection:
        connection.settimeout(5)
        assert connection.recv(100) == b""


def test_a_proxy_is_not_asked_for_an_address_that_a_redirect_may_not_lead_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy() as proxy, Server(CONTENT) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        server.strike(to("http://169.254.169.254/m.onnx"))
        with pytest.raises(Refused, match=r"leads to `169\.254\.169\.254`"):
            download(f"{server.url}/m.onnx", tmp_path / "x.part", sha256=None, size=1, limits=QUICK)
        assert proxy.reached == [("127.0.0.1", server.port)]


def test_a_body_without_a_size_takes_half_of_what_is_free(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "tmpfs", "-o", "size=8m") as disk, Server(CONTENT) as server:
        if disk is None:
            pytest.skip("nothing can be mounted here")
        server.strike(endless)
        with pytest.raises(RemoteError, match=r"says no size and sent 4\d{6} bytes, which is"):
            download(f"{server.url}/m.onnx", disk / "x.part", sha256=None, size=None, limits=QUICK)
        assert not (disk / "x.part").exists()
