"""Code that sends a request, for the API reference: the field `x-codeSamples` of each operation.

of(route, path, body)    the snippets, one for each language

The page /docs puts the server's address and the reader's token in place of HOST and TOKEN. Every snippet runs without
further packages.
"""

import json
import shlex
from typing import Any

from .endpoint import Route, Who

HOST = "https://your.host"
TOKEN = "TOKEN"
ID = "271"

JAVASCRIPT = """\
const response = await fetch("{url}", {{
  method: "{method}",{headers}{body}
}});
console.log(response.status, await response.text());"""

DART = """\
import 'dart:convert';
import 'dart:io';

Future<void> main() async {{
  final request = await HttpClient().openUrl('{method}', Uri.parse('{url}'));{lines}
  final response = await request.close();
  print('${{response.statusCode}} ${{await response.transform(utf8.decoder).join()}}');
  exit(0);
}}"""

PYTHON = """\
import json
import urllib.request

request = urllib.request.Request(
    "{url}",
    method="{method}",{headers}{body}
)
with urllib.request.urlopen(request) as response:
    print(response.status, response.read().decode())"""


def of(route: Route, path: str, body: Any) -> list[dict[str, str]]:
    """The snippets of a route, each with `lang`, `label` and `source`.

    path   of the route as OpenAPI writes it
    body   an example of the body as a value for JSON; None: the route has none
    """
    url = HOST + path.replace("{id}", ID).replace("{", "").replace("}", "")
    headers = {} if route.who is Who.ANYBODY else {"CB-Token": TOKEN}
    if body is not None:
        headers |= {"Content-Type": "application/json"}
    written = {"curl": _curl, "JavaScript": _javascript, "Dart": _dart, "Python": _python}
    return [
        {
            "lang": "shell" if label == "curl" else label.lower(),
            "label": label,
            "source": write(route.method, url, headers, body),
        }
        for label, write in written.items()
    ]


def _curl(method: str, url: str, headers: dict[str, str], body: Any) -> str:
    parts = [
        f"curl -i -X {method} {url}",
        *(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()),
    ]
    if body is not None:
        parts.append(f"-d {shlex.quote(_json(body))}")
    return " \\\n  ".join(parts)


def _javascript(method: str, url: str, headers: dict[str, str], body: Any) -> str:
    sent = f"\n  headers: {_json(headers)}," if headers else ""
    text = "" if body is None else f"\n  body: JSON.stringify({_indented(body, '  ')}),"
    return JAVASCRIPT.format(url=url, method=method, headers=sent, body=text)


def _dart(method: str, url: str, headers: dict[str, str], body: Any) -> str:
    lines = [f"  request.headers.set('{name}', '{value}');" for name, value in headers.items()]
    if body is not None:
        # Dart reads $ in a text as the beginning of a variable.
        value = _indented(body, "  ").replace("$", "\\$")
        lines.append(f"  request.add(utf8.encode(jsonEncode({value})));")
    return DART.format(url=url, method=method, lines="".join(f"\n{line}" for line in lines))


def _python(method: str, url: str, headers: dict[str, str], body: Any) -> str:
    sent = f"\n    headers={_json(headers)}," if headers else ""
    data = "" if body is None else f"\n    data=json.dumps({_of_python(body)}).encode(),"
    written = PYTHON.format(url=url, method=method, headers=sent, body=data)
    return written if data else written.replace("import json\n", "")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _indented(value: Any, indent: str) -> str:
    """JSON over several lines, the first of which stands in a line that is indented already."""
    return json.dumps(value, ensure_ascii=False, indent=2).replace("\n", f"\n{indent}")


def _of_python(value: Any) -> str:
    """The value as Python writes it. Texts keep the double quotes of JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_json(name)}: {_of_python(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_of_python, value)) + "]"
    return _json(value) if isinstance(value, str) else repr(value)
