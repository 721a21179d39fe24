"""Strangers are refused by the live page's server, whatever they ask for and however."""

import html
import http.client
import socket
import threading
from contextlib import suppress
from time import monotonic, sleep

import pytest

from gauntlet.sims.run import simulate
from gauntlet.sims.ui import server
from gauntlet.sims.ui.child import Child
from gauntlet.sims.ui.server import LiveServer


@pytest.fixture
def served(tmp_path):
    """A server of an empty folder, in a thread."""
    child = Child(tmp_path)
    server = LiveServer(tmp_path, child)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    child.close()


def asked(server, method, target, **headers):
    """Return (status, headers, body); a header of None is left out."""
    connection = http.client.HTTPConnection("127.0.0.1", server.door.port, timeout=30)
    own = f"127.0.0.1:{server.door.port}"
    told = {"Host": own, "Origin": f"http://{own}"} | {n.replace("_", "-"): v for n, v in headers.items()}
    connection.putrequest(method, target, skip_host=True)
    for name, value in told.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read()
    connection.close()
    return found


METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", ["/", "/state", "/stop", "/resume", "/manifest.json", "/../../etc/passwd"])
@pytest.mark.parametrize("said", ["", "?token=", "?token=guess", "?token=guess&token={token}"])
def test_without_the_token_everything_is_forbidden(method, target, said, served):
    status, headers, body = asked(served, method, target + said.format(token=served.door.token))

    assert status == 403
    assert served.door.token.encode() not in body
    assert not [name for name in headers if name.startswith("access-control")]


STRANGE = {
    "another site's name that points here": {"Host": "evil.example"},
    "that name with the port": {"Host": "evil.example:{port}"},
    "another port": {"Host": "127.0.0.1:1"},
    "no host": {"Host": None},
    "an address that is not this": {"Host": "0.0.0.0:{port}"},
}


@pytest.mark.parametrize("case", STRANGE)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_with_the_token_another_host_is_forbidden_too(case, method, served):
    """DNS rebinding: the browser takes this server for one of the other site's."""
    told = {n: v and v.format(port=served.door.port) for n, v in STRANGE[case].items()}

    assert asked(served, method, f"/?token={served.door.token}", **told)[0] == 403


@pytest.mark.parametrize(
    "told",
    [
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
@pytest.mark.parametrize("target", ["/stop", "/resume"])
def test_what_changes_something_comes_from_the_page_itself(told, target, served):
    assert asked(served, "POST", f"{target}?token={served.door.token}", **told)[0] == 403


def test_with_all_of_it_the_page_comes_and_may_not_be_kept_or_framed(served):
    status, headers, body = asked(served, "GET", f"/?token={served.door.token}")

    assert status == 200
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert not [name for name in headers if name.startswith("access-control")]
    assert "connect-src 'self'" in html.unescape(body.decode())
    assert asked(served, "GET", f"/else?token={served.door.token}")[0] == 404
    assert asked(served, "DELETE", f"/?token={served.door.token}")[0] == 405


def test_it_listens_on_the_loopback_address_alone(served):
    assert served.server_address[0] == "127.0.0.1"


def test_two_servers_have_two_tokens_of_256_bits(served, tmp_path):
    other = LiveServer(tmp_path, served.child)
    other.server_close()

    assert other.door.token != served.door.token
    assert len(other.door.token) == 43  # 32 bytes, base64 without filling


@pytest.mark.parametrize("act", ["stop", "resume"])
def test_what_the_page_s_button_does_not_allow_is_refused_by_address_too(act, tiny, tmp_path):
    """Of a finished folder: no process is begun, and nothing of the folder changes."""
    run = simulate(tiny(rounds=1), tmp_path / "done")
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    child = Child(run.folder)
    server = LiveServer(run.folder, child)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    status, _, body = asked(server, "POST", f"/{act}?token={server.door.token}")
    server.shutdown()
    server.server_close()
    thread.join()

    assert (status, child.runs, child.printed) == (409, False, 0)
    assert b"nothing to stop, or to go on with" in body
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before
    child.close()


def knock(server):
    """Open a connection, and ask for nothing yet."""
    return socket.create_connection(("127.0.0.1", server.door.port), timeout=30)


def test_a_request_that_trickles_is_cut_off_in_time(served, monkeypatch):
    """A byte now and then must not hold a thread for ever."""
    monkeypatch.setattr(server, "_PATIENCE", 0.5)
    with knock(served) as slow:
        sent = 0
        with suppress(OSError):
            while sent < 400:
                slow.sendall(b"x")
                sent += 1
                sleep(0.05)

    assert sent < 200


def test_who_opens_many_connections_gets_no_more_threads_and_the_page_comes_again(served, monkeypatch):
    monkeypatch.setattr(server, "_PATIENCE", 1.0)
    before = threading.active_count()
    many = [knock(served) for _ in range(server._MOST + 13)]
    most = threading.active_count() - before
    assert [one.recv(1) for one in many[-5:]] == [b""] * 5  # those are turned away at once
    for one in many:
        one.close()
    until = monotonic() + 30
    while threading.active_count() > before and monotonic() < until:
        sleep(0.02)

    assert most <= server._MOST
    assert asked(served, "GET", f"/state?token={served.door.token}")[0] == 200


@pytest.mark.parametrize(
    "line",
    [b"GET http://[ HTTP/1.1", b"G" * 70_000, b"\xff\xfe\x00", b"GET / HTTP/9.9", b"GET //x?token=%ff"],
)
def test_a_request_that_is_none_gets_no_page_and_harms_nothing(line, served):
    with knock(served) as connection:
        connection.sendall(line + b"\r\nHost: x\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b" 200 " not in answer[:40]
    assert served.door.token.encode() not in answer
    assert asked(served, "GET", f"/state?token={served.door.token}")[0] == 200
