"""`nas dashboard`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from ..rundir import RunDir

HOST = "127.0.0.1"  # private: no other machine reaches it


def dashboard(
    run: Annotated[str, typer.Argument(help="A run's folder, or its name in ./runs.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
) -> None:
    """Show a run's trials in the browser, live.

    Optuna's dashboard on 127.0.0.1: only this machine can see it.
    """
    from ..rundir import RunDir

    folder = RunDir.open(run)
    try:
        server = bind(folder, port)
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}; name another, or 0 for any") from None
    with server:
        address = f"http://{HOST}:{server.server_port}"
        print(f"{folder.name}: {address}  (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # how a person ends it
            server.serve_forever()


def bind(run: RunDir, port: int) -> WSGIServer:
    """A server on the run's storage, bound and not yet serving. Raises OSError."""
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    from optuna_dashboard import wsgi

    from ..search.storage import open_storage

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Handler(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Not a line for every request."""

    app = wsgi(open_storage(run.request.storage, run.journal, mend=False))
    return make_server(HOST, port, app, server_class=Server, handler_class=Handler)
