"""Marks of a model's reasoning that were left in a text: readers of replies take them out, this is the net behind them.

Between backticks they are code that a text speaks about.
"""

from __future__ import annotations

import re

# As the open models spell them: <think>, </seed:think>, [THINK], <|channel|>, <|start_thinking|>, ◁think▷. Arrow reads
# it too, so it looks neither ahead nor behind, and signs stand for themselves.
_BAR, _NAME = "[|\uff5c]", "[\\w\u2581 -]{0,30}"
REASONING = re.compile(
    r"<\s*(?:/\s*)?(?:[\w-]{1,20}:)?(?:think|(?:ant)?thinking|thoughts?|reasoning(?:_content)?|cot_budget_reflect)"
    rf"(?:\s[^<>]{{0,200}}|/)?>|<{_BAR}?{_NAME}(?:channel|think|thought|reasoning){_NAME}{_BAR}>|<\|channel>"
    r"|\[/?THINK\]|◁\s*(?:/\s*)?think\w{0,10}\s*▷",
    re.IGNORECASE,
)
_CODE = re.compile(r"```.*?(?:```|\Z)|``[^\n]*?``|`[^`\n]*`", re.DOTALL)


def has_reasoning_mark(text: str) -> bool:
    """Whether a mark of a model's reasoning stands in a text, code aside."""
    if ">" not in text and "]" not in text and "\u25b7" not in text:
        return False
    return bool(REASONING.search(text) and REASONING.search(_CODE.sub(" ", text)))
