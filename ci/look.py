#!/usr/bin/env python3
"""Looks at reports of `patina bench` in headless Chromium: ci/look.py REPORT.html... [--out FOLDER]

Each page is opened in light and in dark, 1280 and 390 pixels wide, without a network; a picture of the whole page is written for each
(default folder: .cache/look), and the page as it prints, as a PDF. It fails if a page is wider than its window, if anything comes to the console,
if a page asks for anything but itself, if a text of a chart is smaller than 9 pixels or lies outside of its chart, or if a chart's text
covers another one.

Needs Chromium or Chrome (CHROMIUM names it, else it is looked for), and plain Python 3. No test needs this: where there is no
browser it says so and ends with 2.
"""
import argparse, base64, json, os, pathlib, shutil, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
TIMEOUT = 30

# What a person would see at once: in CSS pixels of the page.
CHECK = """
(() => {
  const faults = [], root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    const wide = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > root.clientWidth + 1 && !e.closest('.scroll, pre'));
    faults.push(`the page is ${root.scrollWidth} pixels wide in a window of ${root.clientWidth}: ` + wide.slice(0, 3).map(e => e.tagName + '.' + e.getAttribute('class')).join(', '));
  }
  for (const svg of document.querySelectorAll('svg[role=img]')) {
    const box = svg.getBoundingClientRect();
    if (!box.width) continue;
    const name = svg.querySelector('title').textContent, texts = [...svg.querySelectorAll('text')];
    const scale = box.width / svg.viewBox.baseVal.width;
    const boxes = texts.map(text => [text.textContent, text.getBoundingClientRect()]);
    for (const text of texts) {
      const size = parseFloat(getComputedStyle(text).fontSize) * scale;
      if (size < 9) { faults.push(`${name}: a text of ${size.toFixed(1)} pixels: ${text.textContent}`); break; }
    }
    for (const [text, b] of boxes) {
      if (b.left < box.left - 1 || b.right > box.right + 1 || b.top < box.top - 1 || b.bottom > box.bottom + 1) faults.push(`${name}: outside of the chart: ${text}`);
    }
    for (let i = 0; i < boxes.length; i++) for (let j = 0; j < i; j++) {
      const [a, p] = boxes[i], [b, q] = boxes[j];
      const x = Math.min(p.right, q.right) - Math.max(p.left, q.left), y = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (x > 1 && y > 4 * scale) faults.push(`${name}: one text covers another: "${a}" and "${b}"`);
    }
  }
  return faults;
})()
"""


class Browser:
    """Chromium, spoken to over two pipes: no port is opened and no package needed."""

    def __init__(self, program, profile):
        to_browser, ours_to = os.pipe()
        ours_from, from_browser = os.pipe()

        def pipes():
            # The browser reads from descriptor 3 and writes to 4; either may be in the way of the other.
            read, write = os.dup(to_browser), os.dup(from_browser)
            high = [os.dup2(descriptor, 60 + at) for at, descriptor in enumerate((read, write))]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        flags = ["--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run", "--disable-gpu", "--hide-scrollbars",
                 "--disable-background-networking", "--disable-component-update", "--force-color-profile=srgb", "about:blank"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            flags.insert(0, "--no-sandbox")  # Root has none; in a container that is the usual case.
        self.process = subprocess.Popen([program, *flags], preexec_fn=pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.out, self.into = os.fdopen(ours_to, "wb", buffering=0), os.fdopen(ours_from, "rb", buffering=0)
        self.rest, self.number, self.events = b"", 0, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def read(self):
        while b"\0" not in self.rest:
            more = self.into.read(1 << 16)
            if not more:
                sys.exit("error: the browser ended")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        self.out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"error: {method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, url):
        self.events.clear()
        self.call("Page.navigate", url=url)
        until = time.monotonic() + TIMEOUT
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            if time.monotonic() > until:
                sys.exit(f"error: {url} was not loaded within {TIMEOUT} s")
            self.events.append(self.read())

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            sys.exit(f"error: {result['exceptionDetails']}")
        return result["result"].get("value")

    def faults(self, url):
        """What the page said and asked for."""
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.consoleAPICalled":
                yield "console: " + " ".join(str(argument.get("value", argument.get("description"))) for argument in params["args"])
            elif method == "Runtime.exceptionThrown":
                yield "exception: " + params["exceptionDetails"].get("exception", {}).get("description", "unknown")
            elif method == "Log.entryAdded":
                yield "log: " + params["entry"]["text"]
            elif method == "Network.requestWillBeSent" and params["request"]["url"] != url:
                yield "asked for " + params["request"]["url"][:100]


def look(browser, page, out):
    url, faults = page.resolve().as_uri(), []
    for width in WIDTHS:
        for scheme in SCHEMES:
            name = f"{page.stem}-{width}-{scheme}"
            phone = width < 600
            browser.call("Emulation.setDeviceMetricsOverride", width=width, height=844 if phone else 900, deviceScaleFactor=2 if phone else 1, mobile=phone)
            browser.call("Emulation.setEmulatedMedia", media="screen", features=[{"name": "prefers-color-scheme", "value": scheme}])
            browser.open(url)
            found = browser.evaluate(CHECK)
            shot = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
            (out / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
            found += browser.faults(url)
            faults += [f"{name}: {fault}" for fault in found]
    # A printed page is light, whatever the screen was.
    browser.call("Emulation.setEmulatedMedia", media="", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    pdf = browser.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
    (out / f"{page.stem}.pdf").write_bytes(base64.b64decode(pdf["data"]))
    return faults


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("pages", nargs="+", type=pathlib.Path, metavar="REPORT.html")
    arguments.add_argument("--out", type=pathlib.Path, default=ROOT / ".cache" / "look")
    arguments = arguments.parse_args()
    missing = [page for page in arguments.pages if not page.is_file()]
    if missing:
        sys.exit(f"error: there is no {missing[0]}")
    named = os.environ.get("CHROMIUM")
    program = named or next(filter(None, map(shutil.which, BROWSERS)), MAC if os.path.exists(MAC) else None)
    if program is None:
        print("there is no Chromium here: nothing was looked at (install it, or name it in CHROMIUM)", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    faults = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            for page in arguments.pages:
                faults += look(browser, page, arguments.out)
        finally:
            browser.process.terminate()
            browser.process.wait()
    for fault in faults:
        print(f"FAILED {fault}")
    print(f"look: {len(arguments.pages)} pages, {len(faults)} faults; the pictures are in {arguments.out}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
