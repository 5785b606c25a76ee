"""The live page's requests: the page and its files, the sign-in, the stream of pictures, and what-if.

Nothing here changes anything: acting stays with signed commands. Every answer forbids the browser to load or
run anything from elsewhere.
"""

from importlib.resources import files
from typing import NamedTuple

import msgspec
from aiohttp import web

from controller.process.clock import monotonic_ms, now_ms
from controller.process.errors import UserError
from controller.process.wrong_secrets import Rates
from controller.web.answers import refusal
from controller.web.picture import Picture
from controller.web.rehearsal import BusyError, Rehearsals, shown
from controller.web.streaming import Streams
from controller.web.visitors import SESSION_COOKIE, SESSION_MS, Caller, ProxyTrust, Visitors
from tieline.cloudevents import JSON
from tieline.table import checksum

SIGNED_IN_COOKIE = "tieline_signed_in"  # says nothing but that a button to sign out is of use
FORM_MAX_BYTES = 4_096
WRITE_WITHIN_S = 20.0  # a phone may take so long for one picture
SIGN_INS_PER_S, SIGN_INS_AT_ONCE = 0.2, 5.0
FAULT_PLACE = "<!--fault-->"
TYPES = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class PageFile(NamedTuple):
    """One file of the page, as it is sent."""

    body: bytes
    content_type: str
    etag: str


def page_files() -> dict[str, PageFile]:
    """The files of the page by name. Only these can be asked for."""
    by_name: dict[str, PageFile] = {}
    for file in files("controller.web").joinpath("page").iterdir():
        ending = file.name.rpartition(".")[2]
        if ending in TYPES:
            body = file.read_bytes()
            by_name[file.name] = PageFile(body, TYPES[ending], f'"{checksum(body)[:16]}"')
    return by_name


class Page:
    """The handlers of the page. ``secure``: browsers reach this endpoint by TLS."""

    def __init__(
        self, picture: Picture, streams: Streams, visitors: Visitors, *, proxy: ProxyTrust, secure: bool
    ) -> None:
        self._picture = picture
        self._streams = streams
        self._visitors = visitors
        self._proxy = proxy
        self._secure = secure
        self._files = page_files()
        self._rehearsals = Rehearsals()
        self._sign_ins = Rates(SIGN_INS_PER_S, burst=SIGN_INS_AT_ONCE)

    def routes(self) -> list[web.AbstractRouteDef]:
        """Every path and its handler."""
        return [
            web.get("/", self.index),
            web.get("/page/{name}", self.file),
            web.get("/sign-in", self.sign_in_form),
            web.post("/sign-in", self.sign_in),
            web.post("/sign-out", self.sign_out),
            web.get("/live/events", self.events),
            web.get("/live/what-if", self.what_if),
        ]

    def owns(self, path: str) -> bool:
        """Whether the page answers this path, and so decides itself who may ask."""
        return path in ("/", "/sign-in", "/sign-out") or path.startswith(("/page/", "/live/"))

    def allowed(self, request: web.Request) -> bool:
        """Whether whoever sends the request may look now."""
        headers = request.headers
        caller = Caller(
            request.remote or "",
            host=headers.get("host", ""),
            authorization=headers.get("authorization", ""),
            cookie=headers.get("cookie", ""),
            signed_in=headers.get(self._proxy.header, "") if self._proxy.header else "",
        )
        return self._visitors.allowed(caller, now_ms())

    async def index(self, request: web.Request) -> web.Response:
        """The page, or the way to the sign-in."""
        if self.allowed(request):
            return self._sent("index.html", request)
        if self._visitors.needs_sign_in and not self._proxy.header:
            return web.Response(status=303, headers={**HEADERS, "location": "/sign-in"})
        return self._refused()

    async def file(self, request: web.Request) -> web.Response:
        """A file of the page. They hold nothing that is secret."""
        name = request.match_info["name"]
        if name not in self._files or name.endswith(".html"):
            return refusal(404, "there is no such file")
        return self._sent(name, request)

    async def sign_in_form(self, _request: web.Request) -> web.Response:
        """The form in which a token is typed."""
        return self._form("")

    async def sign_in(self, request: web.Request) -> web.Response:
        """Takes a token, and gives the browser a session. Five tries at once, then one every 5 s."""
        if wait_ms := self._sign_ins.wait_ms(request.remote or "", monotonic_ms()):
            seconds = max(1, round(wait_ms / 1_000))
            answer = self._form(f"Too many tries from this address. Try again in {seconds} s.", status=429)
            answer.headers["retry-after"] = str(seconds)
            return answer
        if (request.content_length or 0) > FORM_MAX_BYTES:
            return refusal(413, "the form is too large")
        token = (await request.post()).get("token", "")
        session = self._visitors.session_for(token if isinstance(token, str) else "", now_ms())
        if session is None:
            return self._form("This token is not valid.", status=401)
        answer = web.Response(status=303, headers={**HEADERS, "location": "/"})
        secure = self._secure or self._is_secure_by_proxy(request)
        answer.set_cookie(
            SESSION_COOKIE,
            session,
            max_age=SESSION_MS // 1_000,
            httponly=True,
            samesite="Strict",
            secure=secure,
        )
        answer.set_cookie(
            SIGNED_IN_COOKIE, "1", max_age=SESSION_MS // 1_000, samesite="Strict", secure=secure
        )
        return answer

    async def sign_out(self, _request: web.Request) -> web.Response:
        """Ends the browser's session."""
        answer = web.Response(status=303, headers={**HEADERS, "location": "/sign-in"})
        answer.del_cookie(SESSION_COOKIE)
        answer.del_cookie(SIGNED_IN_COOKIE)
        return answer

    async def events(self, request: web.Request) -> web.StreamResponse:
        """The whole picture as a server-sent event, then what changes."""
        if not self.allowed(request):
            return self._refused()
        if self._streams.is_full:
            return refusal(503, "too many streams are open: try again later", retry_after_s=10)
        return await self._streams.serve(
            request,
            self._picture.events(),
            lambda: self.allowed(request),
            write_within_s=WRITE_WITHIN_S,
            headers=HEADERS,
        )

    async def what_if(self, request: web.Request) -> web.Response:
        """What is left when everything in ``lose=`` is lost and demand grows by ``growth=``."""
        if not self.allowed(request):
            return self._refused()
        moment = self._picture.moment
        if moment is None:
            return refusal(503, "Kafka or Redis can't be read now: try again later", retry_after_s=5)
        names = request.query.getall("lose", [])
        try:
            report = await self._rehearsals.ask(
                request.remote or "", moment, names, request.query.get("growth", "0%")
            )
        except UserError as error:
            return refusal(400, str(error))
        except BusyError as error:
            return refusal(429, str(error), retry_after_s=2)
        headers = {**HEADERS, "cache-control": "no-store"}
        return web.Response(body=msgspec.json.encode(shown(report)), content_type=JSON, headers=headers)

    def _is_secure_by_proxy(self, request: web.Request) -> bool:
        by_proxy = self._proxy.includes(request.remote or "")
        return by_proxy and request.headers.get("x-forwarded-proto", "").lower() == "https"

    def _sent(self, name: str, request: web.Request) -> web.Response:
        file = self._files[name]
        headers = {**HEADERS, "etag": file.etag, "cache-control": "no-cache"}
        if file.etag in request.headers.get("if-none-match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)

    def _form(self, fault: str, *, status: int = 200) -> web.Response:
        words = f'<p class="notice bad" role="alert">{fault}</p>' if fault else ""
        text = self._files["sign-in.html"].body.decode().replace(FAULT_PLACE, words)
        headers = {**HEADERS, "cache-control": "no-store"}
        return web.Response(status=status, text=text, content_type="text/html", headers=headers)

    def _refused(self) -> web.Response:
        answer = refusal(401, "sign in first: at /sign-in, by Authorization: Bearer TOKEN, or at the proxy")
        answer.headers.update(HEADERS)
        return answer
