#!/usr/bin/env python3
"""Takes a picture of a page in a headless Chromium once an expression of JavaScript is true in it.

    take-picture.py URL EXPRESSION PICTURE
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time

WIDTH, HEIGHT = 1440, 960
GIVE_UP_S = 30


class Browser:
    """Speaks the DevTools protocol over a pair of pipes: messages of JSON, a zero byte after each."""

    def __init__(self, folder):
        commands, self.commands = os.pipe()
        self.messages, messages = os.pipe()
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" 3<&{commands} 4>&{messages}', "sh", "chromium-headless-shell", "--headless",
             "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             "--remote-debugging-pipe", f"--user-data-dir={folder}", f"--window-size={WIDTH},{HEIGHT}"],
            pass_fds=[commands, messages], stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(messages)
        self.sent, self.read, self.session = 0, b"", None

    def command(self, method, **parameters):
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.read:
                more = os.read(self.messages, 1 << 20)
                if not more:
                    sys.exit("take-picture: the browser has ended")
                self.read += more
            answer, self.read = self.read.split(b"\0", 1)
            answer = json.loads(answer)
            if answer.get("id") == self.sent:
                return answer["result"]

    def is_true(self, expression):
        answer = self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value") is True


def main(url, expression, picture):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(folder)
        try:
            page = browser.command("Target.createTarget", url=url)
            attached = browser.command("Target.attachToTarget", targetId=page["targetId"], flatten=True)
            browser.session = attached["sessionId"]
            give_up = time.monotonic() + GIVE_UP_S
            while not browser.is_true(expression):
                if time.monotonic() > give_up:
                    sys.exit(f"take-picture: not true within {GIVE_UP_S} s: {expression}")
                time.sleep(0.1)
            data = browser.command("Page.captureScreenshot", format="png")["data"]
            with open(picture, "wb") as file:
                file.write(base64.b64decode(data))
        finally:
            browser.process.kill()
            browser.process.wait()


main(*sys.argv[1:])
