"""Marks of a model's reasoning that were left in a text: readers of replies take them out, this is the net behind them.

Between backticks they are code that a text speaks about.
"""

from __future__ import annotations

import re

# As models call it, <seed:think> and <my_scratchpad> included.
NAMES = (
    r"(?:[\w.-]{1,24}[:_])?(?:think|(?:ant)?thinking|thoughts?|reasoning(?:_content)?|reflection|scratch_?pad"
    r"|inner_?monologue|cot_budget_reflect)"
)
# As the open models spell marks: <think>, </seed:think>, [THINK], <|channel|>, <|start_thinking|>, ◁think▷. Arrow reads
# it too, so it looks neither ahead nor behind, and signs stand for themselves.
_BAR, _NAME = "[|\uff5c]", "[\\w\u2581 -]{0,30}"
REASONING = re.compile(
    rf"<\s*(?:/\s*)?{NAMES}(?:\s[^<>]{{0,200}}|/)?>"
    rf"|<{_BAR}?{_NAME}(?:channel|think|thought|reasoning){_NAME}{_BAR}>|<\|channel>|<unused9[45]>"
    rf"|[◁〈]\s*(?:/\s*)?{NAMES}\s*[▷〉]|\[/?THINK\]|\[/?(?-i:THINKING|REASONING)\]",
    re.IGNORECASE,
)
_CODE = re.compile(r"```.*?(?:```|\Z)|``[^\n]*?``|`[^`\n]*`", re.DOTALL)


def has_reasoning_mark(text: str) -> bool:
    """Whether a mark of a model's reasoning stands in a text, code aside."""
    if ">" not in text and "]" not in text and (text.isascii() or ("▷" not in text and "〉" not in text)):
        return False
    return bool(REASONING.search(text) and REASONING.search(_CODE.sub(" ", text)))
