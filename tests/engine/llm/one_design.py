"""An answer of the chat server that plays every role of a designer, always with the same unit."""

from __future__ import annotations

import json

from chat_server import Answer, Handler, says


def designs(unit: str, path: str = "root.mixer") -> Answer:
    """Answer coders with the source `unit`, proposers with an idea for `path`, others with 5."""
    change = "Add the value of the neighbour in later tiles."
    idea = {
        "title": "Neighbour values",
        "motivation": "They may help.",
        "changes": [{"path": path, "change": change}],
        "expected_effect": "A lower loss.",
    }

    def answer(handler: Handler) -> None:
        asked = json.loads(handler.body)
        told = asked["messages"][-1]["content"] + json.dumps(asked.get("response_format", ""))
        if '"title"' in told:
            says(json.dumps(idea))(handler)
        elif '"score"' in told:
            says(json.dumps({"reason": "ok", "score": 5}))(handler)
        else:
            says(f"```python\n{unit}```\n")(handler)

    return answer
