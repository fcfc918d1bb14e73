"""Whether a server can be reached, known in seconds: downloads may hang for minutes."""

import threading
import urllib.parse

_SECONDS_TO_CONNECT = 5
_SECONDS_TO_ANSWER = 10


def why_unreachable(url, *, is_file=False):
    """Asks a server, in a thread, because DNS knows no time limit.

    Args:
        url: address of the server, or of a file on it.
        is_file: whether an answer with an error status counts as none.
    Returns:
        What is wrong, in a few words, after at most 10 s; `None` if a download can
        begin.
    """
    host = urllib.parse.urlsplit(url).hostname
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(_why_refused(url, is_file)), daemon=True
    )
    thread.start()
    thread.join(_SECONDS_TO_ANSWER)
    if not answers:
        return f"{host} did not answer in {_SECONDS_TO_ANSWER} s"
    return answers[0] and f"{host} {answers[0]}"


def _why_refused(url, is_file):
    import requests

    try:
        with requests.get(url, stream=True, timeout=_SECONDS_TO_CONNECT) as response:
            code = response.status_code
    except requests.RequestException as error:
        return f"cannot be reached ({type(error).__name__})"
    return f"answered with HTTP status {code}" if is_file and code >= 400 else None
