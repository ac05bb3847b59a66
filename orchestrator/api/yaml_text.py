"""YAML as strictly as JSON: the same values, the same limits; nothing that could be read in two ways.

Built from the parser's events, one by one: an alias is refused before it is followed, nesting before it is entered.
Plain scalars are read by the core schema of YAML 1.2, without its octal and hexadecimal numbers: `no`, `2026-01-31` and
`0x1F` are texts.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from app_sdk.protocol import strict_json
from app_sdk.protocol.strict_json import ENVELOPE_DEPTH, MAX_DEPTH, JsonError, JsonValue

_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_SAFE_DUMPER = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
_DEPTH = MAX_DEPTH + ENVELOPE_DEPTH
_INTEGER = re.compile(r"[-+]?[0-9]{1,25}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, JsonValue] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NOTHING = object()
# The parser compares each %TAG with all before it. It takes these characters for ends of lines.
_DIRECTIVE = re.compile("(?:^|[\n\r\x85\u2028\u2029])\ufeff*%")


@dataclass(slots=True)
class _Open:
    """A collection that has begun. `key`: the one that waits for its value."""

    value: dict[str, Any] | list[Any]
    key: object = field(default=_NOTHING)


def loads(data: bytes) -> JsonValue:
    """Read one UTF-8 YAML document. Raises JsonError, and nothing else."""
    try:
        text = data.decode()
        if _DIRECTIVE.search(text):
            raise JsonError("$", "directives (lines that begin with %) are not read")
        found = _build(text)
    except UnicodeDecodeError as error:
        raise JsonError("$", f"not UTF-8 at byte {error.start}") from None
    except yaml.YAMLError as error:
        raise JsonError("$", f"malformed YAML: {_one_line(error)}") from None
    # What JSON cannot hold, YAML may not bring in: large integers, NUL, lone surrogates, depth.
    strict_json.dumps(found, max_depth=_DEPTH)
    return found


def dumps(value: JsonValue) -> bytes:
    """Write a value, keys in their order. What `loads` would not read as the same text is in quotes."""
    return yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=2**31 - 1).encode()


class _Dumper(_SAFE_DUMPER):  # type: ignore[misc, valid-type]
    """The library leaves out quotes by the rules of YAML 1.1, by which `12e5` is a text."""


def _written(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_read_otherwise = _means_no_text(text) or _DIRECTIVE.search(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if is_read_otherwise else None)


_Dumper.add_representer(str, _written)


def _build(text: str) -> JsonValue:
    opened: list[_Open] = []
    root: Any = _NOTHING
    for event in yaml.parse(text, Loader=_LOADER):
        match event:
            case yaml.AliasEvent():
                raise JsonError("$", "aliases (*name) are not read")
            case yaml.DocumentStartEvent() if root is not _NOTHING:
                raise JsonError("$", "more than one document")
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                _check_plain(event.tag)
                if len(opened) >= _DEPTH:
                    raise JsonError("$", f"nested deeper than {_DEPTH} levels")
                opened.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else []))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                root = _put(opened, opened.pop().value, root)
            case yaml.ScalarEvent():
                root = _put(opened, _scalar(event), root)
            case _:
                continue
    return None if root is _NOTHING else root


def _put(opened: list[_Open], value: Any, root: Any) -> Any:
    """Place a value where it belongs; returns the document, as far as it is known."""
    if not opened:
        return value
    holder = opened[-1]
    if isinstance(holder.value, list):
        holder.value.append(value)
    elif holder.key is _NOTHING:
        if not isinstance(value, str):
            raise JsonError("$", "a key is a text: put it in quotes")
        if value in holder.value:
            raise JsonError("$", f"the key {value[:40]!r} is there twice")
        holder.key = value
    else:
        holder.value[str(holder.key)], holder.key = value, _NOTHING
    return root


def _scalar(event: yaml.ScalarEvent) -> JsonValue:
    _check_plain(event.tag)
    text = event.value
    # Not implicit are the quoted ones, and those with a tag.
    if not event.implicit[0] or not _means_no_text(text):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    raise JsonError("$", f"{text} is not a number of JSON")


def _means_no_text(plain: str) -> bool:
    """Whether this, without quotes, is something else than a text."""
    return plain in _WORDS or any(form.fullmatch(plain) for form in (_INTEGER, _FLOAT, _NOT_FINITE))


def _check_plain(tag: str | None) -> None:
    if tag not in (None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
        raise JsonError("$", f"the tag {str(tag)[:60]} is not read")


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())[:200]
