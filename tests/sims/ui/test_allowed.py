"""Strangers are refused by the live page's server, whatever they ask for and however."""

import html
import http.client
import threading

import pytest

from gauntlet.sims.run import simulate
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
