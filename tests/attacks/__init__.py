"""What Seedbed is attacked with, and where: a table of cases each.

| attack | file |
|---|---|
| kills at the n-th change of a file: run, freeze, export, refilter, push, migration | `test_kills.py` |
| bits turned and bytes lost: the journal; the store and its log | `test_journal_damage.py`; `test_damage.py` |
| bodies: bombs, without end, deep, huge, broken, drop by drop | `test_bodies.py` |
| files: bombs, deep, huge | `test_nesting.py`, `tests/test_yamlfile.py` |
| documents: Word files that are bombs, deep, linked, broken; web pages likewise | `test_documents.py` |
| slow, stopped and brief readers; calls that are never answered | `test_neighbours.py`; `test_interrupt.py` |
| Prefect killed, frozen, slow and odd | `tests/test_tracked.py` |
| rows of strangers: bombs, deep, endless, links, folders named `key=value` | `test_rows.py` |
| rows of strangers: any JSON at all; odd, broken and huge lines | `tests/test_forms.py`; `tests/test_sources.py` |
| folders named `key=value`, `*` and the like | `test_paths.py` |
| files where one stands; names looked up by every command, in a network of one loopback | `test_surroundings.py` |
| links out of a folder, pipes, sockets, files without end | `test_links.py` |
| keys that a server echoes, a text or a document holds, in any spelling | `test_secrets.py` |
| 100 KB and more against every pattern | `test_patterns.py` |
| marks that a judged text forges | `test_fences.py` |
| control characters and markup on a terminal | `test_terminal.py` |
| other users of the machine; a home that may only be read | `test_private.py` |
| clocks that go back a year | `test_order.py` |
"""
