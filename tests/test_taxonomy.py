"""Which trees are read, and that every fault of a tree is told with its file and line."""

import io
from pathlib import Path

import pypdf
import pytest

from seedbed.documents import read_documents
from seedbed.records import Document, Seed
from seedbed.taxonomy import read_taxonomy
from seedbed.yamlfile import BadInput

ROOT = Path(__file__).parent.parent
REAL = ROOT.parent / "shared/data/instructlab_taxonomy"
PAIR = "  - question: Why?\n    answer: Because.\n"
GOOD = f"seed_examples:\n{PAIR}"
NESTED = """
version: 3
domain: Birds
document_outline: About birds
document: {repo: https://example.org/birds.git, commit: abc, patterns: ["*.md"]}
seed_examples:
  - context: Birds fly.
    questions_and_answers:
      - question: What do birds do?
        answer: They fly.
      - question: Do birds fly?
        answer: |
          Yes.
"""


def tree(folder, **files):
    """A taxonomy of `a/b` style leaf paths; a value is the qna.yaml's text."""
    for path, text in files.items():
        (folder / path).mkdir(parents=True, exist_ok=True)
        (folder / path / "qna.yaml").write_text(text, encoding="utf-8")
    return folder


def faults(root):
    with pytest.raises(BadInput) as caught:
        read_taxonomy(root)
    return caught.value.problems


def pdf(text):
    """The smallest PDF that shows a text."""
    writer = pypdf.PdfWriter()
    page = writer.add_blank_page(200, 200)
    stream = pypdf.generic.DecodedStreamObject()
    stream.set_data(f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET".encode())
    name = pypdf.generic.NameObject
    font = pypdf.generic.DictionaryObject(
        {name("/Type"): name("/Font"), name("/Subtype"): name("/Type1"), name("/BaseFont"): name("/Helvetica")}
    )
    fonts = pypdf.generic.DictionaryObject({name("/F1"): font})
    page[name("/Resources")] = pypdf.generic.DictionaryObject({name("/Font"): fonts})
    page[name("/Contents")] = stream
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.skipif(not REAL.is_dir(), reason="needs InstructLab's taxonomy in ../shared/data beside the checkout")
def test_every_real_instructlab_leaf_reads():
    leaves = read_taxonomy(REAL)
    assert len(leaves) == 16
    assert sum(leaf.kind == "knowledge" for leaf in leaves) == 2
    assert sum(leaf.grounded for leaf in leaves) == 4
    assert all(seed.question and seed.answer for leaf in leaves for seed in leaf.seeds)


def test_the_starter_taxonomy_reads_and_its_contexts_stand_in_its_document():
    leaves = read_taxonomy(ROOT / "taxonomies/starter")
    assert len(leaves) >= 6
    assert all(len(leaf.seeds) >= 5 and leaf.created_by == "seedbed" for leaf in leaves)
    for leaf in (leaf for leaf in leaves if leaf.kind == "knowledge"):
        text = " ".join(leaf.documents[0].text.split())
        assert all(seed.context in text for seed in leaf.seeds)


def test_leaves_are_sorted_and_named_by_their_path(tmp_path):
    root = tree(tmp_path, **{"skills/b": GOOD, "skills/a": GOOD, "knowledge/c": GOOD})
    assert [leaf.path for leaf in read_taxonomy(root)] == ["knowledge/c", "skills/a", "skills/b"]


@pytest.mark.parametrize("version", ["", "version: 1\n", "version: 2\n", "version: 3\n"])
def test_a_skill_reads_with_or_without_a_version(tmp_path, version):
    text = f"{version}created_by: me\ntask_description: ''\n{GOOD}    context: A text.\n"
    (leaf,) = read_taxonomy(tree(tmp_path, skill=text))
    assert (leaf.kind, leaf.seeds, leaf.task) == ("skill", (Seed("Why?", "Because.", "A text."),), "")


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        ("skills/a", GOOD, "skill"),
        ("knowledge/a", GOOD, "knowledge"),
        ("elsewhere/a", f"domain: Birds\n{GOOD}", "knowledge"),
        ("elsewhere/a", f"document: {{patterns: ['*.md']}}\n{GOOD}", "knowledge"),
        ("elsewhere/a", NESTED[NESTED.index("seed_examples") :], "knowledge"),
        ("skills/knowledge", GOOD, "skill"),
    ],
)
def test_knowledge_is_told_by_the_first_folder_or_by_its_shape(tmp_path, path, text, kind):
    assert read_taxonomy(tree(tmp_path, **{path: text}))[0].kind == kind


def test_every_pair_of_a_knowledge_example_is_a_seed_with_the_example_s_context(tmp_path):
    (leaf,) = read_taxonomy(tree(tmp_path, **{"knowledge/birds": NESTED}))
    assert leaf.seeds == (
        Seed("What do birds do?", "They fly.", "Birds fly."),
        Seed("Do birds fly?", "Yes.", "Birds fly."),
    )
    assert (leaf.domain, leaf.outline) == ("Birds", "About birds")


def test_what_else_instructlab_s_schema_allows_in_a_pair_is_let_be(tmp_path):
    text = NESTED.replace("answer: They", "note: x\n        answer: They")
    assert len(read_taxonomy(tree(tmp_path, **{"knowledge/birds": text}))[0].seeds) == 2


def test_a_leaf_s_documents_are_read_from_its_folder(tmp_path):
    root = tree(tmp_path, **{"knowledge/a": f"documents: [a.md, more/b.pdf]\n{GOOD}"})
    (root / "knowledge/a/a.md").write_text("# A", encoding="utf-8")
    (root / "knowledge/a/more").mkdir()
    (root / "knowledge/a/more/b.pdf").write_bytes(pdf("Seeds sprout"))
    (leaf,) = read_taxonomy(root)
    assert leaf.documents == (Document("a.md", "# A"), Document("more/b.pdf", "Seeds sprout", (0,)))


@pytest.mark.parametrize(
    ("text", "line", "what", "advice"),
    [
        ("seed_examples: [\n", 2, "no valid YAML", "Check"),
        ("a: &x 1\n" + GOOD, 1, "aliases are not read", "Write the value out"),
        ("task_description: " + "[" * 30, 1, "nested more than 20 deep", "quotes"),
        ("- question: Why?\n", 1, "the file is a list", "seed_examples"),
        ("created_by: me\n", 1, "seed_examples is missing", "Write `seed_examples:`"),
        ("created_by: me\nseed_examples: []\n", 2, "seed_examples is empty", "question"),
        ("created_by: me\nseed_examples:\n", 2, "seed_examples is empty", "question"),
        ("seed_examples: soon\n", 1, "a text, not a list", "question"),
        (f"{GOOD}  - question: How?\n", 4, "answer is missing", "Add `answer: …`"),
        (f"{GOOD}  - question: How?\n    answer: 42\n", 5, "answer is a number (42)", "quotes"),
        (f"{GOOD}  - question: true\n    answer: x\n", 4, "question is a truth value (true)", "quotes"),
        (f"{GOOD}  - question: [a]\n    answer: x\n", 4, "question is a list", "as one text"),
        (f"{GOOD}  - answer: x\n    question:\n", 5, "question is empty", "as one text"),
        (f"{GOOD}  - question: How?\n    answer: '  '\n", 5, "answer is empty", "Write its text"),
        (f"{GOOD}    context: ''\n", 4, "context is empty", "Write its text"),
        (f"{GOOD}  - just a text\n", 4, "seed example 2 is a text", "question"),
        (f"{GOOD}    anser: x\n", 4, "unknown key 'anser'", "'answer'"),
        (f"{GOOD}task_descripton: x\n", 4, "unknown key 'task_descripton'", "'task_description'"),
        (f"{GOOD}version: 9\n", 4, "version 9 is unknown", "1, 2 or 3"),
        (f"{GOOD}domain: [a]\n", 4, "domain is a list", "as one text"),
        (f"{GOOD}document: a.md\n", 4, "document is a text", "repo"),
        (NESTED.replace("context: Birds fly.\n    ", ""), 7, "context is missing", "Add `context: …`"),
        (NESTED.replace("        answer: They fly.\n", ""), 9, "answer is missing", "Add"),
        (NESTED.replace("- context: Birds fly.", "- context:"), 7, "context is empty", "as one text"),
        (
            "seed_examples:\n  - context: x\n    questions_and_answers: []\n",
            3,
            "questions_and_answers is empty",
            "- question",
        ),
        (f"documents: a.md\n{GOOD}", 1, "documents is a text, not a list", "[handbook.md]"),
        (f"documents:\n  - absent.md\n{GOOD}", 2, "there is no such file", "put the file there"),
        (f"documents:\n  - ../b/a.md\n{GOOD}", 2, "leads out of the leaf's folder", "beside the qna.yaml"),
        (f"documents:\n  - ../leaf/ok.md\n{GOOD}", 2, "leads out of the leaf's folder", "beside the qna.yaml"),
        (f"documents:\n  - /etc/passwd\n{GOOD}", 2, "leads out of the leaf's folder", "beside the qna.yaml"),
        (f"documents:\n  - ok.md\n  - link.md\n{GOOD}", 3, "link that leads out", "copy"),
        (f"documents:\n  - circle.md\n{GOOD}", 2, "there is no such file", "name"),
        (f"documents:\n  - ok.md\n  - ./ok.md\n{GOOD}", 3, "here twice", "Keep one"),
        (f"documents:\n  - binary.md\n{GOOD}", 2, "not UTF-8: byte 0xff at offset 3, line 2", "UTF-8"),
        (f"documents:\n  - zero.txt\n{GOOD}", 2, "zero bytes", "UTF-8"),
        (f"documents:\n  - blank.txt\n{GOOD}", 2, "no text in it", "Take it out"),
        (f"documents:\n  - broken.pdf\n{GOOD}", 2, "no readable PDF", "save it again"),
        (f"documents:\n  - scan.pdf\n{GOOD}", 2, "no text in it", "scanned"),
        (f"documents:\n  - picture.png\n{GOOD}", 2, "only text, Markdown, HTML, PDF and Word", "Turn it into"),
        (f"documents:\n  - 5\n{GOOD}", 2, "document name is a number (5)", "file name"),
    ],
)
def test_a_fault_says_where_what_and_what_to_write(tmp_path, text, line, what, advice):
    root = tree(tmp_path / "root", leaf=text)
    (tmp_path / "outside.md").write_text("secret")
    folder = root / "leaf"
    (folder / "link.md").symlink_to(tmp_path / "outside.md")
    (folder / "circle.md").symlink_to(folder / "circle.md")
    (folder / "ok.md").write_text("fine")
    (folder / "binary.md").write_bytes(b"ok\n\xff")
    (folder / "zero.txt").write_bytes(b"a\0b")
    (folder / "blank.txt").write_text(" \n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (folder / "scan.pdf").write_bytes(pdf(""))
    (folder / "picture.png").write_bytes(b"\x89PNG")
    problem, *more = faults(root)
    assert (problem.file, problem.line, more) == (str(folder / "qna.yaml"), line, [])
    assert what in problem.what
    assert advice in problem.write


def test_a_document_is_named_from_its_leaf_even_where_its_whole_path_leads_there(tmp_path):
    (problem,) = faults(tree(tmp_path, leaf=f"documents: ['{tmp_path}/leaf/ok.md']\n{GOOD}"))
    assert "leads out" in problem.what


def test_the_faults_of_all_files_come_at_once(tmp_path):
    root = tree(tmp_path, a="- x\n", b=GOOD, c="seed_examples:\n  - question: 1\n  - answer: 2\n", d="a: *b\n")
    told = [(Path(problem.file).parent.name, problem.line) for problem in faults(root)]
    assert told == [("a", 1), ("c", 2), ("c", 2), ("c", 3), ("c", 3), ("d", 1)]


def test_a_file_that_is_not_utf8_says_which_byte(tmp_path):
    root = tree(tmp_path, leaf=GOOD)
    (root / "leaf/qna.yaml").write_bytes(GOOD.encode() + b"domain: caf\xe9\n")
    (problem,) = faults(root)
    assert problem.line == 4
    assert "0xe9 at offset" in problem.what


def test_a_leaf_may_not_be_here_twice(tmp_path):
    root = tree(tmp_path, **{"skills/Greeting": GOOD, "skills/greeting": GOOD, "other": GOOD})
    (root / "other/qna.yml").write_text(GOOD)
    told = [problem.what for problem in faults(root)]
    assert len(told) == 2
    assert all("here twice" in what for what in told)


def test_a_leaf_in_a_yml_file_is_read_too(tmp_path):
    tree(tmp_path, leaf=GOOD)
    (tmp_path / "leaf/qna.yaml").rename(tmp_path / "leaf/qna.yml")
    assert len(read_taxonomy(tmp_path)) == 1


@pytest.mark.parametrize("name", ["file.yaml", "qa.yml", "Skill.YAML"])
def test_a_leaf_whose_file_has_another_name_is_not_left_out_in_silence(tmp_path, name):
    tree(tmp_path, **{"skills/a": GOOD, "skills/b": GOOD})
    (tmp_path / "skills/b/qna.yaml").rename(tmp_path / "skills/b" / name)
    (problem,) = faults(tmp_path)
    assert problem.file == str(tmp_path / "skills/b" / name)
    assert "no qna.yaml" in problem.what and "Rename it to qna.yaml" in problem.write


def test_other_files_may_lie_beside_a_qna_yaml_and_at_the_root(tmp_path):
    tree(tmp_path, **{"skills/a": GOOD})
    for name in ("recipe.yaml", "skills/.lint.yml", "skills/a/notes.yaml"):
        (tmp_path / name).write_text("x: 1")
    assert len(read_taxonomy(tmp_path)) == 1


@pytest.mark.parametrize(
    ("path", "what"), [(".", "no folder of its own"), ("a\nb", "no plain path"), ("a\\..\\b", "no plain path")]
)
def test_a_leaf_s_folder_has_a_plain_name(tmp_path, path, what):
    (problem,) = faults(tree(tmp_path / "root", **{path: GOOD}))
    assert what in problem.what


def test_links_that_lead_out_of_the_taxonomy_are_refused(tmp_path):
    outside = tree(tmp_path / "outside", leaf=GOOD)
    root = tree(tmp_path / "root", fine=GOOD)
    (root / "linked").symlink_to(outside / "leaf")
    (root / "file").mkdir()
    (root / "file/qna.yaml").symlink_to(outside / "leaf/qna.yaml")
    file, linked = faults(root)
    assert "leads out of the taxonomy" in file.what
    assert "links to folders are not followed" in linked.what


def test_an_empty_taxonomy_says_where_it_looked_and_what_to_write(tmp_path):
    tree(tmp_path, **{".hidden/leaf": GOOD})
    (problem,) = faults(tmp_path)
    assert "the taxonomy is empty" in problem.what
    assert str(tmp_path) in problem.what
    assert "qna.yaml with `seed_examples:`" in problem.write


def test_a_root_that_is_absent_or_a_file_is_said_to_be_so(tmp_path):
    (tmp_path / "file").write_text(GOOD)
    assert "does not exist" in faults(tmp_path / "absent")[0].what
    assert "is no folder" in faults(tmp_path / "file")[0].what


def test_documents_are_found_by_pattern_and_sorted(tmp_path):
    (tmp_path / "handbook/deep").mkdir(parents=True)
    (tmp_path / "handbook/b.md").write_bytes(b"B\r\n")
    (tmp_path / "handbook/a.txt").write_text("A")
    (tmp_path / "handbook/deep/c.pdf").write_bytes(pdf("C"))
    (tmp_path / "handbook/.notes.md").write_text("hidden")
    every = (
        Document("handbook/a.txt", "A"),
        Document("handbook/b.md", "B\n"),
        Document("handbook/deep/c.pdf", "C", (0,)),
    )
    assert read_documents("handbook/**/*", tmp_path) == every
    assert read_documents("handbook/*.md", tmp_path) == every[1:2]
    assert read_documents("../handbook/*.md", tmp_path / "handbook")[0].text == "B\n"
    assert read_documents(str(tmp_path / "handbook/*.md"), Path())[0].text == "B\n"


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("*.md", r"no file matches '\*\.md'"),
        ("", "is no file pattern"),
        ("**.md", "is no file pattern|no file matches"),
        ("bad/*", "only text, Markdown, HTML, PDF and Word(.|\n)*not UTF-8(.|\n)*no text in it"),
    ],
)
def test_documents_that_cannot_be_used_are_all_named(tmp_path, pattern, what):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.png").write_bytes(b"\x89PNG")
    (tmp_path / "bad/b.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "bad/c.md").write_text("\n")
    with pytest.raises(BadInput, match=what):
        read_documents(pattern, tmp_path)
