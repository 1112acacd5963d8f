"""Ports: the wanted one or the next free one, the same again after a restart."""

import socket

import pytest

from hermes_local.errors import NoFreePortError
from hermes_local.ports import Ports


@pytest.fixture
def base():
    """A port with free ones behind it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return port if port < 50000 else port - 20000


@pytest.fixture
def make(tmp_path):
    reservations = tmp_path / "reservations"
    reservations.mkdir()
    made = []

    def make_ports(name):
        ports = Ports(tmp_path / name, reservations)
        made.append(ports)
        return ports

    yield make_ports
    for ports in made:
        ports.close()


def test_a_taken_port_gives_the_next_free_one_and_is_said(make, base):
    with socket.create_server(("127.0.0.1", base)):
        ports = make("a")
        port = ports.take("dicom", base)
    assert base < port < base + 50
    assert ports.said == [f"dicom: port {port} instead of {base} (in use)"]


def test_the_wanted_port_is_taken_back_when_it_is_free_and_the_last_one_when_it_is_not(make, base):
    with socket.create_server(("127.0.0.1", base)):
        first = make("a")
        port = first.take("dicom", base)
        first.close()
        again = make("a")
        assert again.take("dicom", base) == port
        again.close()
    last = make("a")
    assert last.take("dicom", base) == base
    assert last.said == []


def test_launchers_side_by_side_get_different_ports_before_anything_listens(make, base):
    ports = [make(name).take("web", base) for name in "abcdef"]
    assert len(set(ports)) == 6


def test_a_port_that_could_not_be_bound_is_not_given_again(make, base):
    ports = make("a")
    port = ports.take("web", base)
    ports.renew("web", port)
    assert ports.take("web", base) > port


def test_a_port_that_a_person_asked_for_is_that_one_or_an_error(make, base):
    ports = make("a")
    with socket.create_server(("127.0.0.1", base)), pytest.raises(NoFreePortError, match=f"Port {base} for dicom"):
        ports.take("dicom", base, exact=True)


def test_a_second_port_at_a_distance_must_be_free_too(make, base):
    with socket.create_server(("127.0.0.1", base + 1000)):
        port = make("a").take("s3", base, also=1000)
    assert port != base


def test_any_free_port_will_do_for_zero(make):
    ports = make("a")
    assert len({ports.take(f"p{number}", 0) for number in range(20)}) == 20
    assert ports.said == []


def test_a_damaged_memory_of_ports_is_forgotten(tmp_path, make, base):
    (tmp_path / "a").write_text("{half")
    assert make("a").take("web", base) >= base
