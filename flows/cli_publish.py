"""The command that publishes: push. A dry run unless it is told otherwise."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_versions import Name
from flows.terminal import HOME, Home, Json, console, here, open_store, print_json, program


def push(
    name: Name,
    repo: Annotated[str, typer.Argument(help="The data set on the Hub, OWNER/NAME; else `repo:` of the options.")] = "",
    options: Annotated[Path | None, typer.Option(help="A YAML file such as recipes/publish.yaml.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Build and look only, or else push.")] = True,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; private else.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder to build the tree in; else one in the home.")] = None,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Publish a version on the Hugging Face Hub: build the tree, look at it, and push it as one commit.

    A dry run by default: nothing is sent. The token is the one of `hf auth login`, or HF_TOKEN.
    """
    from flows.publish import build, read_publication
    from flows.publish import push as send
    from flows.show_publish import facts, show_built, show_pushed

    publication = read_publication(
        options, {**({"repo": repo} if repo else {}), **({"public": True} if public else {})}
    )
    built = build(open_store(home), name, out, publication)
    stopped = built.problems or (built.changes and built.changes.refusals)
    pushed = None if dry_run or stopped else send(built)
    if as_json:
        print_json(facts(built, pushed))
    elif pushed:
        show_pushed(console(), built, pushed)
    else:
        words = [program(), "push", built.version, publication.repo or "OWNER/NAME", "--no-dry-run"]
        words += ["--options", shlex.quote(str(options))] if options else []
        words += ["--public"] if public else []
        words += ["--out", shlex.quote(str(out))] if out else []
        show_built(console(), built, " ".join(words) + here(home))
    raise typer.Exit(1 if stopped else 0)
