"""Whether a server holds its answers to the JSON schema it was sent: some take the field, answer 200 and ignore it.

Every structured answer is read and checked where it is used; here a server is caught at it with its first answers.
"""

from __future__ import annotations

import logging

from pydantic import BaseModel, ValidationError

from seedbed.engines import Reply

WATCHED = 5  # as many answers in a row that fit are proof enough: a server that enforces a schema always does
BREACHES = 2  # one may be a refusal, or a thought that was let through

_log = logging.getLogger(__name__)


class SchemaWatch:
    """Looks at a server's first structured answers; `where` is the server in messages."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._fitting = self._breaches = self._seen = 0
        self.over = False

    def look(self, reply: Reply, schema: type[BaseModel], said: str) -> None:
        """Check one answer, and warn once the server is caught. `said` is the answer as it may be quoted."""
        if reply.finish == "length":
            return  # cut off by max_tokens: no fault of the server's
        self._seen += 1
        try:
            schema.model_validate_json(reply.text)
        except ValidationError:
            self._fitting, self._breaches = 0, self._breaches + 1
        else:
            self._fitting += 1
        if self._breaches == BREACHES:
            _log.warning(
                "%s ignores the JSON schema that it is sent (response_format json_schema): %d of its first %d answers "
                "do not fit it, e.g. %r. Answers that cannot be read fail their rows and are paid for all the same: "
                "use a server that enforces schemas (vLLM, llama.cpp, OpenAI), or update this one",
                *(self._where, self._breaches, self._seen, said),
            )
        self.over = self._breaches == BREACHES or self._fitting == WATCHED
