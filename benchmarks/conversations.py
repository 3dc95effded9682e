"""Conversations such as people review: tools, reasoning, code, formulas, right-to-left, long; by what is in them."""

from __future__ import annotations

from seedbed.conversation import Content, Response, ToolCall, Turn

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a town on a day.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}, "day": {"type": "string"}}},
    },
}
FORMULAS = r"""## Roots of a quadratic

For $ax^2 + bx + c = 0$ with $a \neq 0$ the roots are

$$
x_{1,2} = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}
$$

and \(x_1 + x_2 = -\frac{b}{a}\). In matrices,
\[
A = \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}, \qquad \det A = -2 .
\]

A sum, a limit and a case:

- $\sum_{i=1}^{n} i = \binom{n+1}{2}$
- $\lim_{x \to 0} \frac{\sin x}{x} = 1$
- $|x| = \begin{cases} x & \text{if } x \ge 0 \\ -x & \text{otherwise} \end{cases}$

It costs $5 and not $6. A macro stays as it is written: $\def\a{b}\a$.
"""
PROGRAM = """Read the file line by line:

```python
def longest(path: str) -> str:
    with open(path, encoding="utf-8") as lines:
        return max(lines, key=len)  # <b>not bold</b>
```

| part | what it does |
|---|---|
| `open` | opens the file |
| `max` | finds the longest line |

1. It holds *one* line at a time.
2. An empty file raises `ValueError`.
"""
LEFTWARDS = """# שלום עולם

זוהי פסקה בעברית עם המילה *Python* בתוכה ועוד כמה מילים כדי שהשורה תהיה ארוכה.

This paragraph is English.

- פריט ראשון
- پاسخ دوم
- a third in English

> ציטוט קצר
"""
LONG = "\n\n".join(f"Paragraph {n}. " + "It says *something* of the matter. " * 20 for n in range(310))  # some 221 KB
TALK = Content.of(
    [
        Turn("system", "You help with travel. Use the tools; never guess the weather."),
        Turn("user", "I am in Bergen. What shall I wear tomorrow?"),
        Turn(
            "assistant",
            reasoning="They want advice on clothes. I do not know the weather, so I ask for it first.",
            tool_calls=(ToolCall("get_weather", {"town": "Bergen", "day": "tomorrow"}, "call-1"),),
        ),
        Turn("tool", '{"town":"Bergen","sky":"rain","degrees":[4,7]}', name="get_weather", tool_call_id="call-1"),
        Turn("assistant", "Rain at **4 to 7 °C**: a raincoat and a jumper."),
        Turn("user", "And in Málaga?"),
        Turn("assistant", tool_calls=(ToolCall("get_weather", '{"town": "Málaga"', "call-2"),)),
        Turn("tool", "Sunny all day. " * 60, name="get_weather", tool_call_id="call-2"),
    ],
    [Response("A shirt is enough: *sunny*.", "writer-7b", reasoning="Sunny means warm there.")],
    tools=[WEATHER],
    facts={
        "knowledge": {
            "gold_answer": "A shirt.",
            "evidence": {"document": "guide.pdf", "heading": "South", "pages": [3, 4]},
        }
    },
)
CONVERSATIONS: dict[str, tuple[str, Content]] = {
    "tools": ("dialogue", TALK),
    "formulas": ("instruction", Content("How do I solve a quadratic equation?", FORMULAS)),
    "a program": ("instruction", Content("Write a function that finds the longest line.", PROGRAM)),
    "right to left": ("instruction", Content("ספר לי על Python", LEFTWARDS)),
    "long": ("instruction", Content("Summarise.", "A summary.", context=LONG)),
    "a pair": (
        "preference",
        Content.of(
            [Turn("user", "Why is the sky blue?")],
            [
                Response("Short waves are **scattered** more.", "writer-7b", "Rayleigh scattering."),
                Response("Because it mirrors the sea.", "writer-1b"),
            ],
        ),
    ),
    "a correction": ("correction", Content("When did Rome fall?", "Rome fell in 467.", rejected="Rome fell in 476.")),
    "a label": ("labelled", Content.of([Turn("user", "Is 7 prime?")], [Response("No.")], label=False)),
    "a call": (
        "dialogue",
        Content.of(
            [Turn("user", "Weather in Oslo?")],
            [Response(tool_calls=(ToolCall("get_weather", {"town": "Oslo"}),))],
            tools=[WEATHER],
        ),
    ),
}
