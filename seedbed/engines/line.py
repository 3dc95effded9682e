"""One request to a server and what came back: its body without our keys, or what its refusal or silence means."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import aiohttp
from yarl import URL

from seedbed.credentials import HIDDEN, hidden
from seedbed.engines import EngineError, EngineGone, Reply
from seedbed.engines.completion import PassingFault, completion, loaded, retry_after
from seedbed.engines.connection import lost, route
from seedbed.engines.plain import Answer
from seedbed.engines.refusals import heard, refusal
from seedbed.engines.wire import ANSWER_BYTES, Wire

JSON = "application/json"
QUOTED = 4_000  # characters of a server's words that are told; no error of a server's is as long
ASIDE = 1 << 20  # bytes of a body that are searched for keys in a thread
PAGE = 500  # of what is no answer at all: a page of HTML, as a rule


logger = logging.getLogger(__name__)


class Line:
    """The line to the server of `base`; `secrets` are never told, whoever says them."""

    def __init__(self, base: URL, secrets: tuple[str, ...]) -> None:
        """Raises ValueError for a proxy or certificates, named in the environment, that cannot be used."""
        self.where = str(base.with_query(None))
        self._base, self._way, self._keyed = base, route(base), bool(secrets)
        self.secrets = (*secrets, self._way.login.password) if self._way.login else secrets
        self._wire: Wire | None = None
        self._echoes = False  # it has sent one of our keys back

    def open(self, headers: Mapping[str, str]) -> None:
        """To be called inside the event loop that it is used in."""
        self._wire = Wire(self._base, headers, self._way)

    async def close(self) -> None:
        """Let go of all connections."""
        if self._wire is not None:
            await self._wire.close()
            self._wire = None

    async def exchange(
        self,
        method: str,
        page: str,
        body: bytes,
        seconds: float,
        kind: str = JSON,
        *,
        most: int = ANSWER_BYTES,
        fields: Iterable[str] = (),
    ) -> bytes:
        """One request's whole body, of `most` bytes; `fields` are the request's, which a refusal may name.

        Raises:
            PassingFault: another try may help. EngineError: it will not. TooLarge: there is more of it.
        """
        if self._wire is None:
            raise RuntimeError("open the engine first: async with HttpEngine(...) as engine")
        try:
            answer = await self._wire.exchange(method, page, body, seconds, kind, most)
        except TimeoutError as error:
            # Too many calls at once are answered late: busy, as far as can be told.
            why = f"no whole answer within {seconds:.3g} s"
            raise PassingFault(why, kind="no answer in time", busy=True, absent=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(error) from None  # its cause may quote what the server sent
        content = await self._without_keys(answer.content)
        if answer.status < 300:
            return content
        raise self._refusal(answer._replace(content=content), fields)

    def _lost(self, error: aiohttp.ClientError | OSError) -> PassingFault | EngineError:
        """What a connection that failed means, without our keys: a parser quotes what it cannot read."""
        found = lost(error, self.where, self._way)
        found.args = (self.said(str(found)),)
        return found

    async def _without_keys(self, content: bytes) -> bytes:
        """A body with our keys hidden: some servers echo one, and some models repeat it."""
        if not self.secrets:
            return content
        if b"\0" in content:  # no UTF-8 and no JSON: another encoding, in which no key would be found
            content = content.replace(b"\0", b"") + b"\xff"
        aside = len(content) > ASIDE  # a batch's answers: the event loop has other things to do meanwhile
        clean = await asyncio.to_thread(hidden, content, self.secrets) if aside else hidden(content, self.secrets)
        if clean is not content and not self._echoes:
            self._echoes = True
            logger.warning("%s repeats the key; it is written as %s wherever that is kept", self.where, HIDDEN)
        return clean

    def completion(self, content: bytes, step: str) -> tuple[Reply, Mapping[str, Any]]:
        """The reply in a body, and its entry of `choices`. Raises PassingFault, EngineError, Unreadable."""
        found = loaded(content, self.where, lambda: self.said(content, PAGE))
        if (error := found.get("error")) and not found.get("choices"):
            raise self._told(error, content)
        return completion(found, step)

    def said(self, text: str | bytes, most: int = QUOTED) -> str:
        """What a server said on one line, without our keys; what is left out of a very long one is told."""
        line = " ".join((text if isinstance(text, str) else text.decode(errors="replace")).split())
        line = hidden(line.encode("utf-8", "replace"), self.secrets).decode()
        return line if len(line) <= most else f"{line[:most]} … ({len(line) - most:,} characters more)"

    def _told(self, error: object, content: bytes) -> Exception:
        """An error in place of an answer (HTTP 200): by the status that it names, else one that may pass."""
        code = error.get("code") if isinstance(error, dict) else None
        if isinstance(code, int) and 400 <= code < 600:
            return self._refusal(Answer(code, {}, content), ())
        return PassingFault(f"it answers with an error: {self.said(heard(0, content, None).words)}", kind="an error")

    def _refusal(self, answer: Answer, fields: Iterable[str]) -> Exception:
        if answer.status < 400:
            target = self.said(answer.headers.get("Location", "nowhere"))
            return EngineGone(
                f"{self.where}: HTTP {answer.status}: it redirects to {target}, and redirects are not followed. "
                "Write the final address as base_url",
                "redirected",
            )
        said = heard(answer.status, answer.content, retry_after(answer.headers.get("Retry-After", "")))
        return refusal(replace(said, words=self.said(said.words)), self.where, fields, self._keyed)
