"""Makes user_agents.json of PyPI's ua-parser-builtins, and crawlers.txt of npm's crawler-user-agents.

    pip download --no-deps ua-parser-builtins; npm pack crawler-user-agents; unpack both, then
    python make.py folder-of-ua_parser_builtins crawler-user-agents.json

Device patterns, two thirds of all, are left out: of a device only its kind is told.
"""

import importlib
import json
import pathlib
import sys
import types

# Patterns that people's browsers have: `None` is left out. The first is a build of Android 15.
ALTERED = {r"AP3A\.240617\.008": None, r"RED\/": r"\bRED\/"}


def parser(family):
    def told(regex, *replacements):
        keys = [family, "v1_replacement", "v2_replacement", "v3_replacement", "v4_replacement"]
        if family == "os_replacement":
            keys = [family, *(f"os_v{number}_replacement" for number in range(1, 5))]
        return {"regex": regex} | {key: text for key, text in zip(keys, replacements) if text is not None}

    return told


here = pathlib.Path(__file__).parent
builtins, crawlers = sys.argv[1:3]
sys.path.insert(0, builtins)
matchers = types.ModuleType("ua_parser.matchers")
matchers.UserAgentMatcher = parser("family_replacement")
matchers.OSMatcher = parser("os_replacement")
matchers.DeviceMatcher = lambda *_: None
sys.modules["ua_parser"] = types.ModuleType("ua_parser")
sys.modules["ua_parser.matchers"] = matchers
agents, systems, _ = importlib.import_module("ua_parser_builtins.matchers").MATCHERS
kept = {"user_agent_parsers": agents, "os_parsers": systems}
text = json.dumps(kept, ensure_ascii=False, indent=0, separators=(",", ":"))
(here / "user_agents.json").write_text(text + "\n", encoding="utf-8")
with open(crawlers, encoding="utf-8") as file:
    patterns = [crawler["pattern"] for crawler in json.load(file)]
patterns = [ALTERED.get(pattern, pattern) for pattern in patterns]
lines = [pattern for pattern in patterns if pattern is not None]
(here / "crawlers.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
