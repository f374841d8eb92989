"""The page in a real browser, with a microphone that the browser makes up."""

import asyncio
import dataclasses
import shutil
import threading

import numpy as np
import pytest
import soundfile

pytest.importorskip("websockets", reason="needs the package websockets")
playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")

from conftest import make_speech

import codec
from codec.serve.config import ServeConfig
from codec.serve.server import Server

START_SECONDS = 2.0
SLOW = """seconds => {
  const later = () => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  const devices = navigator.mediaDevices, contexts = BaseAudioContext.prototype;
  const ask = devices.getUserMedia.bind(devices), decode = contexts.decodeAudioData;
  devices.getUserMedia = async (wish) => {
    await later();
    return window.microphone = await ask(wish);
  };
  contexts.decodeAudioData = async function (data) {
    await later();
    return decode.call(this, data);
  };
}"""
CHROMIUM = shutil.which("chromium")
OPTIONS = [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the Debian package chromium")


@pytest.fixture
def model(tiny_model) -> codec.Codec:
    """One whose last codebook is half as large as the others."""
    *sizes, last = tiny_model.quantizer.sizes
    quantizer = dataclasses.replace(tiny_model.config.quantizer, sizes=(*sizes, last // 2))
    uneven = codec.Codec(dataclasses.replace(tiny_model.config, quantizer=quantizer))
    uneven.load_state_dict(tiny_model.state_dict())
    return uneven.eval()


@pytest.fixture
def port(model):
    """Of a server in a thread with a loop of its own: the browser's calls block this one."""
    started, found = threading.Event(), []

    async def run() -> None:
        stop = asyncio.Event()
        async with Server(model, ServeConfig(port=0, start_seconds=START_SECONDS)) as server:
            found.extend([server.port, asyncio.get_running_loop(), stop])
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(30)
    yield found[0]
    found[1].call_soon_threadsafe(found[2].set)
    thread.join()


@pytest.fixture
def page(port):
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page()
        page.set_default_timeout(30_000)
        complaints = []
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"http://localhost:{port}/")
        wait_for(page, "status", "ready")
        yield page
        assert not complaints
        browser.close()


def wait_for(page, name: str, text: str) -> None:
    page.wait_for_function(
        "([name, text]) => document.getElementById(name).textContent === text", arg=[name, text]
    )


def wait_for_frames(page, count: int) -> None:
    page.wait_for_function(
        "count => Number(document.getElementById('frames').textContent) >= count", arg=count
    )


def colours(page, canvas: str) -> int:
    """How many there are in a picture."""
    return page.evaluate(
        """id => {
          const canvas = document.getElementById(id);
          const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return new Set(new Uint32Array(pixels.data.buffer)).size;
        }""",
        canvas,
    )


def microphone_is_off(page) -> bool:
    return page.evaluate("window.microphone.getTracks().every((track) => track.readyState === 'ended')")


def choose(page, count: int) -> None:
    page.locator("#codebooks").fill(str(count))


@pytest.mark.parametrize("count", [1, 7, 8])
def test_the_bitrate_is_that_of_the_codebooks_that_are_chosen(page, model, count):
    page.fill("#codebooks", str(count))
    bits = model.quantizer.bits(count) * model.sample_rate / model.hop_length
    assert page.text_content("#bitrate") == f"{bits:,.0f}"


def test_a_microphone_becomes_tokens_and_sound(page, model):
    assert "model" in page.locator("#model").inner_text()
    page.click("#mic")
    wait_for_frames(page, 40)
    assert page.locator("#bitrate").inner_text() == f"{model.quantizer.bits(8) * 50:,}"
    assert page.locator("#latency").inner_text() != "–"
    choose(page, 2)
    wait_for(page, "bitrate", "1,000")
    assert page.locator("#count").inner_text() == "2"
    wait_for_frames(page, 80)
    assert float(page.locator("#round").inner_text()) < 1000
    page.click("#stop")
    wait_for(page, "status", "ended")
    for canvas in ("wave-original", "spectrum-original", "matrix", "wave-decoded", "spectrum-decoded"):
        assert colours(page, canvas) > 1, canvas


def test_a_file_is_played_through_and_compared(page, tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, np.stack([make_speech(1.2, 22_050)] * 2, axis=1), 22_050)
    page.set_input_files("#file", path)
    wait_for(page, "status", "ended")
    assert int(page.locator("#frames").inner_text()) >= 55
    page.click("#replay")
    wait_for(page, "status", "playing")
    for side in ("original", "decoded"):
        page.check(f"[name=side][value={side}]", force=True)
        assert page.locator(".panel.audible").get_attribute("data-side") == side
    wait_for(page, "status", "ended")


def test_the_demo_clip_needs_no_file(page):
    page.click("#demo")
    wait_for_frames(page, 40)
    page.click("#stop")
    wait_for(page, "status", "ended")
    assert colours(page, "spectrum-original") > 1


def test_what_is_no_sound_is_told(page, tmp_path):
    path = tmp_path / "notes.wav"
    path.write_text("no sound")
    page.set_input_files("#file", path)
    page.wait_for_selector("#status[data-state=error]")
    assert page.locator("#mic").is_enabled()


@pytest.mark.parametrize("button", ["#mic", "#demo"])
def test_a_source_may_take_longer_to_open_than_the_server_waits_for_a_start(page, button):
    """A question about the microphone stands until somebody answers it; only then is there a connection."""
    page.evaluate(SLOW, START_SECONDS + 0.5)
    sockets = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.click(button)
    wait_for(page, "status", "opening…")
    page.wait_for_timeout(500)
    assert not sockets
    wait_for_frames(page, 20)
    assert len(sockets) == 1
    page.click("#stop")
    wait_for(page, "status", "ended")


def test_a_microphone_that_is_not_wanted_any_more_is_closed(page):
    page.evaluate(SLOW, 0.5)
    page.click("#mic")
    wait_for(page, "status", "opening…")
    page.click("#stop")
    wait_for(page, "status", "stopped")
    assert microphone_is_off(page)
    page.click("#mic")
    wait_for_frames(page, 5)
    page.click("#stop")
    wait_for(page, "status", "ended")


@pytest.mark.parametrize(
    ("fault", "told"),
    [("refused", "full"), ("another model", "the server has another model now; start again")],
)
def test_a_microphone_without_a_server_is_closed(page, model, fault, told):
    def answer(socket) -> None:
        if fault == "refused":
            socket.close(code=1013, reason="full")
            return
        server = socket.connect_to_server()
        server.on_message(lambda text: socket.send(text.replace(model.fingerprint, "0" * 16)))

    page.evaluate(SLOW, 0)
    page.route_web_socket("**/ws", answer)
    page.click("#mic")
    wait_for(page, "status", told)
    assert microphone_is_off(page)
    assert page.locator("#mic").is_enabled()
