"""Ports and addresses: what is taken is said before the model is loaded."""

import os
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared.errors import UserError
from serving import ports
from serving.settings import Settings

LOCAL = IPv4Address("127.0.0.1")


@pytest.mark.parametrize("option", ["--port", "--grpc-port"])
def test_a_port_that_is_taken_is_one_line(
    option: str, tmp_path: Path, start_in_vain: Callable[..., str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        # The folder is none: the port is looked at before.
        said = start_in_vain(tmp_path / "nowhere", option, port)
    line = f"error: port {port} at 127.0.0.1: address already in use; choose another one with"
    assert said.startswith(line)
    assert said.count("\n") == 1


def test_one_port_for_both_is_one_line(tmp_path: Path, start_in_vain: Callable[..., str]) -> None:
    said = start_in_vain(tmp_path / "nowhere", "--port", "8765", "--grpc-port", "8765")
    assert said.startswith("error: port 8765 is given for REST and for gRPC; choose another one")
    assert said.count("\n") == 1


def test_a_second_server_shares_no_port(predictor: Any) -> None:
    for port in (predictor.port, predictor.grpc_port):
        for host in (LOCAL, ports.EVERYWHERE):
            with pytest.raises(UserError, match="already in use"):
                ports.take(host, port)


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"192\.0\.2\.1: cannot assign .* as --host"):
        ports.take(IPv4Address("192.0.2.1"), 0)


def test_where_there_is_no_ipv6_all_addresses_are_those_of_ipv4(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.socket

    def without(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, kind)

    monkeypatch.setattr(socket, "socket", without)
    with ports.take(ports.EVERYWHERE, 0) as found:
        assert found.getsockname()[0] == "0.0.0.0"
    with pytest.raises(UserError, match="not supported"):
        ports.take(IPv6Address("::1"), 0)


def test_it_serves_both_families(start: Callable[..., Any]) -> None:
    with start(host="::") as server:
        for host in ("127.0.0.1", "[::1]"):
            ready = httpx.get(f"http://{host}:{server.port}/v2/models/brain-tumor/ready")
            assert ready.json()["ready"] is True
            with grpc.insecure_channel(f"{host}:{server.grpc_port}") as channel:
                stub = GRPCInferenceServiceStub(channel)
                assert stub.ModelReady(pb.ModelReadyRequest(name="brain-tumor")).ready


def test_by_default_nobody_else_reaches_it() -> None:
    assert Settings().host == LOCAL
    assert ip_address(str(Settings().host)).is_loopback


LINKS = {
    "BRAIN_TUMOR_SERVE_SERVICE_HOST": "10.0.0.1",
    "BRAIN_TUMOR_SERVE_SERVICE_PORT": "80",
    "BRAIN_TUMOR_SERVE_SERVICE_PORT_HTTP1": "80",
    "BRAIN_TUMOR_SERVE_PORT": "tcp://10.0.0.1:80",
    "BRAIN_TUMOR_SERVE_PORT_80_TCP": "tcp://10.0.0.1:80",
    "BRAIN_TUMOR_SERVE_PORT_80_TCP_ADDR": "10.0.0.1",
    "BRAIN_TUMOR_SERVE_PORT_80_TCP_PORT": "80",
    "BRAIN_TUMOR_SERVE_PORT_80_TCP_PROTO": "tcp",
}


@pytest.mark.parametrize("service", ["", "_HTTP", "_GRPC", "_METRICS", "_2"])
def test_variables_of_a_service_are_no_settings(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in LINKS.items():
        monkeypatch.setenv(name.replace("SERVE", f"SERVE{service}", 1), value)
    assert Settings.from_environment() == Settings()


def test_a_service_hides_no_setting_and_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LINKS.items():
        monkeypatch.setenv(name.replace("SERVE", "SERVE_HTTP", 1), value)
    monkeypatch.setenv("BRAIN_TUMOR_SERVE_HTTP_PORT", "9090")  # the pod's own wins over the link
    assert Settings.from_environment().http_port == 9090
    monkeypatch.setenv("BRAIN_TUMOR_SERVE_GRPC_PROT", "9091")
    with pytest.raises(UserError, match=r"SERVE_GRPC_PROT is not .* 'BRAIN_TUMOR_SERVE_GRPC_PORT'"):
        Settings.from_environment()
    assert "BRAIN_TUMOR_SERVE_GRPC_PROT" in os.environ


def test_what_a_setting_should_be_is_said_of_the_variable_or_the_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UserError, match=r"^--host: 'x' is not allowed; it should be an address"):
        Settings.from_environment(host="x")
    monkeypatch.setenv("BRAIN_TUMOR_SERVE_IMAGE_URL_NETWORKS", "10.1.0.0/16,lan")
    with pytest.raises(
        UserError, match=r"^BRAIN_TUMOR_SERVE_IMAGE_URL_NETWORKS: 'lan' is not .* a"
    ):
        Settings.from_environment()
    monkeypatch.delenv("BRAIN_TUMOR_SERVE_IMAGE_URL_NETWORKS")
    monkeypatch.setenv("BRAIN_TUMOR_SERVE_XYZ", "1")
    with pytest.raises(UserError, match=r"XYZ is not a setting; docs/serving.md lists") as error:
        Settings.from_environment()
    assert len(str(error.value)) < 100
