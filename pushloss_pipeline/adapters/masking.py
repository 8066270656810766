"""The secrets of this process, struck by their values from whatever it says.

Who comes by a key, a signature or a token calls `learn`. From the first one on, each
log record, warning and uncaught error of the process is masked, of any library: what
they have in common is the process, so what is learnt is kept for it as a whole.
What leaves by another way passes `masked`, `masked_bytes` or `discreet`.
"""

import base64
import functools
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, cast

MASK = "***"
SHORTEST = 16
"""So many characters make a secret; words and numbers of the data are shorter."""
VARIED = 4
"""So many different ones of them."""
_SECRET = re.compile(rf"[A-Za-z0-9*_+/=.~!$@-]{{{SHORTEST},}}")
_STEP = 12
"""A piece of a secret twice as long is known for what it is."""

_TOKEN = re.compile(rf"[A-Za-z0-9%*_+/=\\&#;.~!$@\0-]{{{SHORTEST},4096}}")
"""Where a secret may stand: no other text pays for the search."""
_ESCAPED = re.compile(
    r"%([0-9a-f]{2})|\\+(?:u00|x)([0-9a-f]{2})|&#x0*([0-9a-f]{1,2});?"
    r"|&#0*([0-9]{1,3});?|\\+(/)|(\0)",
    re.IGNORECASE,
)
_ROUNDS = 8
"""So often an escape may be escaped again."""
_IN_URLS = str.maketrans("+/", "-_")

Arguments = ParamSpec("Arguments")

_known: set[str] = set()
_spellings: dict[str, tuple[tuple[str, int], ...]] = {}
"""Pieces of secrets in some encoding, in lower case: of which text, and from where."""
_whole: set[str] = set()
"""Texts of `_spellings` that are no secret in part: they are made of words, too."""
_learning = threading.Lock()


def is_maskable(secret: str) -> bool:
    """Whether it can be struck out and never hits data: long enough, not all zeros."""
    return bool(_SECRET.fullmatch(secret)) and len(set(secret)) >= VARIED


def learn(*secrets: str, only_whole: bool = False) -> None:
    """Mask these from now on, of them what `is_maskable`; and longer pieces of them.

    With `only_whole` no pieces: parts of an address may be words of the data, too.
    """
    with _learning:
        news = {s for s in map(str.strip, secrets) if is_maskable(s)} - _known
        if not news:
            return
        if not _known:
            _mask_what_the_process_says()
        for secret in news:
            _learn_spellings(secret.encode(), only_whole=only_whole)
        _known.update(news)
        _without_secrets.cache_clear()


def masked(text: str) -> str:
    """The text with each known secret struck out, in any spelling, and nothing else.

    Plain, percent-encoded or escaped for JSON, HTML or Python, each as often as may
    be; in hex and base64, in upper and lower case, in UTF-16, or a longer piece of it.
    """
    if not _known:
        return text
    return _TOKEN.sub(lambda token: _without_secrets(token[0]), text)


def masked_bytes(content: bytes) -> bytes:
    """The same for bytes of any encoding."""
    text = content.decode("latin-1")
    safe = masked(text)
    return content if safe is text else safe.encode("latin-1")


def masked_error(error: BaseException) -> BaseException:
    """The error; or its like, where it or what led to it tells a secret."""
    if any(map(_tells, _all_of(error))):
        return _stand_in(error, {})
    return error


@contextmanager
def discreet() -> Iterator[None]:
    """Let no error that tells a secret out of a block, or a decorated function."""
    try:
        yield
    except Exception as error:
        safe = masked_error(error)
        if safe is error:
            raise
        raise safe from safe.__cause__  # the one that is handled is never shown


def _learn_spellings(secret: bytes, *, only_whole: bool) -> None:
    spellings = {secret.decode("latin-1").lower(), secret.hex()}
    for before in range(3):
        # Of a text that holds it: what depends on the secret alone.
        whole = base64.b64encode(bytes(before) + secret).decode()
        first, last = -(-before * 4 // 3), (before + len(secret)) // 3 * 4
        in_base64 = whole[first:last].lower()
        spellings |= {in_base64, in_base64.translate(_IN_URLS)}
    for spelling in spellings:
        _learn_pieces(spelling)
    if only_whole:
        _whole.update(spellings)


def _learn_pieces(text: str) -> None:
    for start in range(0, len(text) - _STEP + 1, _STEP):
        piece = text[start : start + _STEP]
        _spellings[piece] = (*_spellings.get(piece, ()), (text, start))


@functools.lru_cache(maxsize=4096)
def _without_secrets(token: str) -> str:
    text, places = _unescaped(token)
    starts = range(len(text) - _STEP + 1)
    kept: list[str] = []
    end = 0
    for start in [n for n in starts if text[n : n + _STEP] in _spellings]:
        if start < end:
            continue
        first, last = _secret_at(text, start, end)
        if last - first >= SHORTEST:
            kept += [token[places[end] if kept else 0 : places[first]], MASK]
            end = last
    return "".join([*kept, token[places[end] :]]) if kept else token


def _secret_at(text: str, position: int, end: int) -> tuple[int, int]:
    """The longest piece of a secret around a position, and after `end`."""
    longest = (position, position)
    for secret, start in _spellings.get(text[position : position + _STEP], ()):
        first, last = position, position + _STEP
        while first > end and start > 0 and text[first - 1] == secret[start - 1]:
            first, start = first - 1, start - 1
        rest = start + last - first
        while last < len(text) and rest < len(secret) and text[last] == secret[rest]:
            last, rest = last + 1, rest + 1
        if secret in _whole and last - first < len(secret):
            continue
        longest = max(longest, (first, last), key=lambda span: span[1] - span[0])
    return longest


def _unescaped(token: str) -> tuple[str, Sequence[int]]:
    """What is meant, in lower case, and where each character of it stands."""
    text, places = token, cast(Sequence[int], range(len(token) + 1))
    for _ in range(_ROUNDS):
        shorter: list[str] = []
        begins: list[int] = []
        position = 0
        for escape in _ESCAPED.finditer(text):
            meant = _meaning(escape)
            shorter += [text[position : escape.start()], meant]
            begins += [*range(position, escape.start()), escape.start()][
                : escape.start() - position + len(meant)
            ]
            position = escape.end()
        if not shorter:
            break
        begins += range(position, len(text) + 1)
        text = "".join([*shorter, text[position:]])
        places = [places[begin] for begin in begins]
    return text.lower(), places


def _meaning(escape: re.Match[str]) -> str:
    percent, backslash, in_hex, decimal, slash, _ = escape.groups()
    if in_16 := percent or backslash or in_hex:
        return chr(int(in_16, 16)).replace("\0", "")
    if decimal:
        # Others are part of no secret, and some are two characters in lower case.
        return chr(int(decimal)).replace("\0", "") if int(decimal) < 128 else "?"
    return slash or ""


def _all_of(error: BaseException) -> list[BaseException]:
    """It and all that a traceback would show before it or within it."""
    found = [error]
    for one in found:
        found += [near for near in _shown_with(one) if near not in found]
    return found


def _shown_with(error: BaseException) -> list[BaseException]:
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return [*inner, *filter(None, [_shown_before(error)])]


def _shown_before(error: BaseException) -> BaseException | None:
    return error.__cause__ or (
        None if error.__suppress_context__ else error.__context__
    )


def _tells(error: BaseException) -> bool:
    text = "".join(traceback.format_exception_only(error))
    return masked(text) != text


def _stand_in(error: BaseException, made: dict[int, BaseException]) -> BaseException:
    """An error that looks like this one in a traceback, and holds nothing of it."""
    if id(error) in made:
        return made[id(error)]
    kind = type(error)
    if isinstance(error, BaseExceptionGroup):
        inner = [_stand_in(member, made) for member in error.exceptions]
        safe: BaseException = BaseExceptionGroup(masked(error.message), inner)
    else:
        names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        safe = type(kind.__name__, (Exception,), names)(masked(str(error)))
    made[id(error)] = safe
    for note in getattr(error, "__notes__", ()):
        safe.add_note(masked(str(note)))
    led_to_it = _shown_before(error)
    safe.__cause__ = led_to_it and _stand_in(led_to_it, made)
    return safe.with_traceback(error.__traceback__)


def _mask_what_the_process_says() -> None:
    """Let neither logs nor warnings nor tracebacks tell a secret.

    Records are masked as they are made: before any handler, of any logger, and in any
    format. A filter would have to be added to each handler that ever comes about.
    """
    logging.setLogRecordFactory(_masking_records(logging.getLogRecordFactory()))
    warnings.formatwarning = _masking_text(warnings.formatwarning)
    sys.excepthook = _masking_hook(sys.excepthook, lambda kind, error, place: error)
    threading.excepthook = _masking_hook(threading.excepthook, _error_of)
    sys.unraisablehook = _masking_hook(sys.unraisablehook, _error_of)


def _masking_records(
    make: Callable[..., logging.LogRecord],
) -> Callable[..., logging.LogRecord]:
    def masking(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        _mask_message(record)
        if record.stack_info:
            record.stack_info = masked(record.stack_info)
        if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
            error = masked_error(record.exc_info[1])
            record.exc_info = (type(error), error, error.__traceback__)
        return record

    return masking


def _mask_message(record: logging.LogRecord) -> None:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - the handler meets it too, and shows both of these
        record.msg, record.args = masked(str(record.msg)), (masked(repr(record.args)),)
        return
    if (safe := masked(message)) != message:
        record.msg, record.args = safe, ()


def _masking_text(say: Callable[Arguments, str]) -> Callable[Arguments, str]:
    def masking(*args: Arguments.args, **kwargs: Arguments.kwargs) -> str:
        return masked(say(*args, **kwargs))

    return masking


def _masking_hook(
    show: Callable[..., Any], error_in: Callable[..., BaseException | None]
) -> Callable[..., None]:
    def masking(*args: Any) -> None:
        error = error_in(*args)
        if error is None or (safe := masked_error(error)) is error:
            show(*args)
        else:
            traceback.print_exception(safe)

    return masking


def _error_of(args: Any) -> BaseException | None:
    error: BaseException | None = args.exc_value
    return error
