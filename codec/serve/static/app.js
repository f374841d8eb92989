// The page: buttons and meters between audio, connection and pictures.

import { Spectrogram, TokenMatrix, Wave } from "./draw.js";
import { Link } from "./link.js";
import { Sound } from "./sound.js";

const $ = (id) => document.getElementById(id);
const waves = {
  original: new Wave($("wave-original"), "#6cb2ff"),
  decoded: new Wave($("wave-decoded"), "#4fd1a5"),
};
const spectra = {
  original: new Spectrogram($("spectrum-original"), 8000),
  decoded: new Spectrogram($("spectrum-decoded"), 8000),
};
const matrix = new TokenMatrix($("matrix"));
const sound = new Sound(sendChunk, stop);

let link = null;
let hello = null;
let stopped = false;
let sentTimes = [];
let rounds = [];
let frames = 0;
let left = new Int16Array(0);

// A connection of its own for every signal.
function connect(onReady) {
  link?.drop();
  link = new Link({
    hello: (message) => {
      hello = message;
      describe();
      onReady();
    },
    ready: (message) => {
      $("latency").textContent = message.latency_ms.toFixed(0);
      showBitrate(message.bits_per_second);
      if (stopped) return;
      setStatus("live", "live");
      sound.begin();
    },
    codebooks: (message) => showBitrate(message.bits_per_second),
    codes: addCodes,
    sound: (first, samples) => addSound(samples),
    ended: () => finish("idle", "ended"),
    failed: (reason) => finish("error", reason),
  });
}

function describe() {
  $("model").textContent = `model ${hello.fingerprint.slice(0, 12)} · ${hello.rate / 1000} kHz · ` +
    `${(hello.rate / hello.frame_samples).toFixed(0)} frames/s`;
  $("codebooks").max = hello.codebooks;
  $("token-field").hidden = !hello.token_needed;
  $("count").textContent = $("codebooks").value;
  showBitrate(bitsPerSecond($("codebooks").value));
  matrix.setSize(hello.codebooks, hello.codebook_size);
}

// A connection for the hello alone: a place on the server is for those who send. When it fails, the page has
// said why, and nothing follows.
function greet() {
  return new Promise((resolve) => {
    connect(() => {
      link.drop();
      resolve();
    });
  });
}

// The server waits only a moment for a start; a question about the microphone may stand for minutes.
async function begin(open) {
  stopped = false;
  buttons(true);
  setStatus("idle", "connecting…");
  if (!hello) await greet();
  setStatus("idle", "opening…");
  try {
    await sound.prepare(hello.rate, hello.rate / hello.frame_samples);
    await open();
  } catch (error) {
    finish("error", error.name === "NotAllowedError" ? "no microphone: permission denied" : error.message);
    return;
  }
  if (stopped) return finish("idle", "stopped");
  start(hello.fingerprint);
}

// For a source that is open and was prepared for that model.
function start(fingerprint) {
  setStatus("idle", "connecting…");
  connect(() => {
    if (stopped || hello.fingerprint !== fingerprint) {
      link.drop();
      if (stopped) finish("idle", "stopped");
      else finish("error", "the server has another model now; start again");
      return;
    }
    clear();
    link.start({
      mode: "both",
      rate: sound.rate,
      codebooks: Number($("codebooks").value),
      fingerprint: hello.fingerprint,
      ...(hello.token_needed ? { token: $("token").value } : {}),
    });
  });
}

function clear() {
  sentTimes = [];
  rounds = [];
  frames = 0;
  left = new Int16Array(0);
  spectra.original.reset(sound.rate);
  spectra.decoded.reset(hello.rate);
  for (const picture of [...Object.values(waves), ...Object.values(spectra), matrix]) picture.clear();
}

function sendChunk(buffer) {
  const samples = new Int16Array(buffer);
  waves.original.add(samples);
  spectra.original.add(samples);
  if (link.sendSound(buffer)) sentTimes.push(performance.now());
}

function addCodes(first, count, codes) {
  const now = performance.now();
  for (let i = 0; i < codes.length; i += count) {
    matrix.add(codes.subarray(i, i + count));
    const sent = sentTimes[first + i / count];
    if (sent !== undefined) rounds.push(now - sent);
    frames++;
  }
  rounds = rounds.slice(-50);
  const middle = [...rounds].sort((a, b) => a - b)[rounds.length >> 1];
  $("round").textContent = middle === undefined ? "–" : middle.toFixed(0);
  $("frames").textContent = frames;
  $("seconds").textContent = ((frames * hello.frame_samples) / hello.rate).toFixed(1);
}

function addSound(samples) {
  sound.addDecoded(samples);
  const joined = new Int16Array(left.length + samples.length);
  joined.set(left);
  joined.set(samples, left.length);
  let start = 0;
  for (; start + hello.frame_samples <= joined.length; start += hello.frame_samples) {
    const frame = joined.subarray(start, start + hello.frame_samples);
    waves.decoded.add(frame);
    spectra.decoded.add(frame);
  }
  left = joined.slice(start);
}

function stop() {
  stopped = true;
  sound.stopInput();
  sound.stopReplay();
  if (link && !link.finished) {
    setStatus("idle", "finishing…");
    link.end();
  }
  $("stop").disabled = true;
}

function finish(state, text) {
  sound.stopInput();
  setStatus(state, text);
  buttons(false);
}

async function download(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.arrayBuffer();
}

function replay() {
  setStatus("live", "playing");
  buttons(true);
  sound.replay(() => finish("idle", "ended"));
}

function buttons(busy) {
  $("mic").disabled = $("open").disabled = $("demo").disabled = busy;
  $("stop").disabled = !busy;
  $("replay").disabled = busy || !sound.decoded.length;
}

// Each code takes the bits that its codebook needs.
function bitsPerSecond(codebooks) {
  const bits = hello.codebook_sizes.slice(0, codebooks).map((size) => Math.max(1, Math.ceil(Math.log2(size))));
  return (bits.reduce((sum, count) => sum + count, 0) * hello.rate) / hello.frame_samples;
}

function showBitrate(bits) {
  $("bitrate").textContent = Math.round(bits).toLocaleString("en");
  $("ratio").textContent = `1/${Math.round((16 * hello.rate) / bits)}`;
}

function setStatus(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
}

function chooseSide() {
  const side = document.querySelector("[name=side]:checked").value;
  sound.setSide(side);
  for (const panel of document.querySelectorAll(".panel[data-side]")) {
    panel.classList.toggle("audible", panel.dataset.side === side);
  }
}

$("mic").onclick = () => begin(() => sound.openMicrophone());
$("open").onclick = () => $("file").click();
$("file").onchange = async () => {
  const [file] = $("file").files;
  if (!file) return;
  const data = await file.arrayBuffer();
  $("file").value = "";
  begin(() => sound.openFile(data));
};
$("demo").onclick = () => begin(async () => sound.openFile(await download("speech.flac")));
$("stop").onclick = () => {
  const wasReplay = Boolean(sound.replaying);
  stop();
  if (wasReplay) finish("idle", "ended");
};
$("replay").onclick = replay;
$("live").onchange = () => sound.setLive($("live").checked);
$("codebooks").oninput = () => {
  $("count").textContent = $("codebooks").value;
  if (hello) showBitrate(bitsPerSecond($("codebooks").value));
  link?.setCodebooks(Number($("codebooks").value));
};
for (const input of document.querySelectorAll("[name=side]")) input.onchange = chooseSide;

chooseSide();
greet().then(() => setStatus("idle", "ready"));
