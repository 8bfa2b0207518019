"""A client that asks, pauses and asks again, while pods go and come; runs in a pod.

Prints one JSON list: of each request when it was sent and answered, in seconds since 1970, and the
HTTP status, or what went wrong instead.
"""

import io
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

from PIL import Image


def main(url: str, at_once: str, *pauses: str) -> None:
    """Args: url: to ask; at_once: requests at the same time; pauses: in seconds."""
    file = io.BytesIO()
    Image.new("L", (30, 30), 204).save(file, "PNG")
    request = Request(url, file.getvalue(), {"Content-Type": "image/png"})

    def ask(_: int) -> dict[str, object]:
        sent = time.time()
        try:
            with urlopen(request, timeout=120) as answer:
                answer.read()
                status = answer.status
        except OSError as error:
            status = repr(error)
        return {"sent": sent, "answered": time.time(), "status": status}

    asked = []
    with ThreadPoolExecutor(int(at_once)) as pool:
        for pause in (0.0, *map(float, pauses)):
            time.sleep(pause)
            asked += pool.map(ask, range(int(at_once)))
    print(json.dumps(asked))


if __name__ == "__main__":
    main(*sys.argv[1:])
