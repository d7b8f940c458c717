"""The wall-board page: one file, with the policy that lets nothing but its own script and style run."""

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib import resources

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page:
    """The page's bytes and its Content-Security-Policy."""

    body: bytes
    policy: str


def load_page() -> Page:
    """Read the page from the package."""
    text = resources.files("stream.export").joinpath("board.html").read_text(encoding="utf-8")
    policy = (
        "default-src 'none'",
        f"script-src {_hashes(_SCRIPT, text)}",
        f"style-src {_hashes(_STYLE, text)}",
        "connect-src 'self'",
        "img-src data:",  # the icon
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return Page(text.encode(), "; ".join(policy))


def _hashes(block: re.Pattern[str], text: str) -> str:
    digests = (hashlib.sha256(found.encode()).digest() for found in block.findall(text))
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
