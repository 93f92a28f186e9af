"""Pages with hostile names in a browser: no script runs, and nothing is fetched."""

import dataclasses
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rum_ray.report.evidence import page
from rum_ray.report.files import write
from rum_ray.results.schema.rows import PlanStep

from . import shapes, test_evidence

# Names this long leave no room for a figure.
pytestmark = pytest.mark.filterwarnings("ignore:constrained_layout not applied:UserWarning")
RAN = "a script ran"
WAIT = "--virtual-time-budget=4000"


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """An address, and the list of paths that were requested from it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(f"document.title='{RAN}'".encode())

        def log_message(self, *arguments: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_port}", asked
    listener.shutdown()
    listener.server_close()


def payloads(url: str) -> tuple[str, ...]:
    """Markup that runs a script or fetches something, wherever a page takes it as markup."""
    run = f"document.title='{RAN}';fetch('{url}/fetched')"
    return (
        f"<script>{run}</script><script src={url}/script></script>",
        f'"><img src={url}/image onerror="{run}"><img src=x onerror="{run}">',
        f'\'--></style></title></svg><svg/onload="{run}"><use href={url}/use#a />',
        f'</pre><iframe src="{url}/frame" srcdoc="<script>{run}</script>"></iframe>',
        f'<link rel=stylesheet href={url}/style><style>@import "{url}/import";'
        f"body{{background:url({url}/background)}}</style>",
        f"<object data={url}/object></object><embed src={url}/embed>"
        f"<video src={url}/video autoplay></video><audio src={url}/audio autoplay></audio>",
    )


def opened(browse, file: Path) -> str:
    """The document of a page after some seconds, without a word on its console but refusals."""
    done = browse(file, "--dump-dom", WAIT)
    return done.stdout


@pytest.fixture
def report_page(server, tmp_path, monkeypatch) -> Path:
    names = payloads(server[0])
    monkeypatch.setattr(shapes, "NASTY", names)
    write(tmp_path, shapes.nasty(), shapes.gallery(color=True, classes=names * 2))
    return tmp_path / "report.html"


@pytest.fixture
def evidence_page(server, tmp_path) -> Path:
    script, image, comment, frame, style, media = payloads(server[0])
    plain = test_evidence.made(script)
    done = dataclasses.replace(
        plain.done,
        data=image,
        model=comment,
        plan=(PlanStep(frame, {"name": style}),),
        sizes={frame: 20, media: 20},
    )
    asked = dataclasses.replace(plain.asked, classes={style: 30, media: 10})
    drift = dataclasses.replace(plain.drift, due=(image, frame))
    made = dataclasses.replace(plain, done=done, asked=asked, drift=drift, not_measured=(comment,))
    path = tmp_path / "evidence.html"
    path.write_text(page(made), "utf-8")
    return path


@pytest.mark.parametrize("kind", ["report", "evidence"])
def test_hostile_names_run_no_script_and_fetch_nothing(kind, server, browse, request):
    file = request.getfixturevalue(f"{kind}_page")
    shown = opened(browse, file)
    assert "document.title=" in shown, "the names are on the page, as text"
    assert f"<title>{RAN}" not in shown
    tags = ("<script", "<iframe", "<object", "<embed", "<video", "<link rel=stylesheet")
    assert not [tag for tag in tags if tag in shown]
    assert server[1] == []


@pytest.mark.parametrize("kind", ["report", "evidence"])
def test_the_policy_alone_holds_markup_that_was_not_escaped(
    kind, server, browse, request, tmp_path
):
    """A second barrier, in case that a name reaches the page as it is."""
    url, asked = server
    html = request.getfixturevalue(f"{kind}_page").read_text("utf-8")
    broken = tmp_path / "broken.html"
    broken.write_text(html.replace("</body>", "".join(payloads(url)) + "</body>"), "utf-8")
    assert f"<title>{RAN}" not in opened(browse, broken)
    assert asked == []
    # The same markup does both without the policy, so this test would notice.
    start = html.index('<meta http-equiv="Content-Security-Policy"')
    policy = html[start : html.index(">", start) + 1]
    broken.write_text(broken.read_text("utf-8").replace(policy, ""), "utf-8")
    assert f"<title>{RAN}" in opened(browse, broken)
    assert asked
