// Audio input from microphone or file, and output: original (A) and decoded (B), one of them audible.

const KEEP_SECONDS = 120;

export class Sound {
  // onChunk(ArrayBuffer of 16-bit samples, one frame long), onEnd() when a file is over.
  constructor(onChunk, onEnd) {
    this.onChunk = onChunk;
    this.onEnd = onEnd;
    this.side = "decoded";
    this.isLive = false;
    this.original = [];
    this.decoded = [];
  }

  async prepare(rate, frameRate) {
    await this.close();
    this.decodedRate = rate;
    this.original = [];
    this.decoded = [];
    this.context = new AudioContext({ latencyHint: "interactive" });
    await this.context.resume();
    this.rate = this.context.sampleRate;
    this.keep = Math.round(KEEP_SECONDS * frameRate);
    this.gains = { original: this.context.createGain(), decoded: this.context.createGain() };
    for (const gain of Object.values(this.gains)) gain.connect(this.context.destination);
    await this.context.audioWorklet.addModule("worklet.js");
    const processorOptions = { size: Math.round(this.rate / frameRate) };
    this.chunks = new AudioWorkletNode(this.context, "chunks", { numberOfOutputs: 0, processorOptions });
    this.chunks.port.onmessage = (event) => this.take(event.data);
    this.time = 0;
    this.balance();
  }

  async openMicrophone() {
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio });
    this.source = this.context.createMediaStreamSource(this.stream);
  }

  async openFile(data) {
    const buffer = await this.context.decodeAudioData(data);
    this.source = this.context.createBufferSource();
    this.source.buffer = buffer;
    this.source.onended = () => this.onEnd();
  }

  begin() {
    this.source.connect(this.chunks);
    this.source.connect(this.gains.original);
    this.source.start?.();
  }

  take(buffer) {
    if (!this.source) return;
    this.original.push(new Int16Array(buffer.slice(0)));
    if (this.original.length > this.keep) this.original.shift();
    this.onChunk(buffer);
  }

  // Decoded samples follow each other without a gap, a little behind, so that late ones are in time.
  addDecoded(samples) {
    this.decoded.push(samples);
    if (this.decoded.length > this.keep) this.decoded.shift();
    if (!this.isLive || !this.context || !samples.length) return;
    const source = this.play(samples, this.decodedRate, this.gains.decoded);
    const earliest = this.context.currentTime + 0.02;
    if (this.time < earliest) this.time = earliest + 0.06;
    source.start(this.time);
    this.time += samples.length / this.decodedRate;
  }

  stopInput() {
    if (this.source) {
      this.source.onended = null;
      this.source.stop?.();
      this.source.disconnect();
    }
    this.stream?.getTracks().forEach((track) => track.stop());
    this.source = this.stream = null;
  }

  // Both sides at the same time, one of them audible: switching continues at the same word.
  replay(onEnd) {
    this.stopReplay();
    this.replaying = [
      this.play(join(this.original), this.rate, this.gains.original),
      this.play(join(this.decoded), this.decodedRate, this.gains.decoded),
    ];
    this.balance();
    this.replaying[0].onended = () => {
      this.stopReplay();
      onEnd();
    };
    for (const source of this.replaying) source.start(this.context.currentTime + 0.05);
  }

  stopReplay() {
    for (const source of this.replaying ?? []) {
      source.onended = null;
      source.stop();
    }
    this.replaying = null;
    this.balance();
  }

  setSide(side) {
    this.side = side;
    this.balance();
  }

  setLive(isLive) {
    this.isLive = isLive;
    this.balance();
  }

  balance() {
    if (!this.gains) return;
    for (const [name, gain] of Object.entries(this.gains)) {
      const audible = name === this.side && (this.isLive || Boolean(this.replaying));
      // A jump would click.
      gain.gain.setTargetAtTime(audible ? 1 : 0, this.context.currentTime, 0.01);
    }
  }

  play(samples, rate, target) {
    const buffer = this.context.createBuffer(1, Math.max(1, samples.length), rate);
    const values = buffer.getChannelData(0);
    for (let i = 0; i < samples.length; i++) values[i] = samples[i] / 32768;
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(target);
    return source;
  }

  async close() {
    this.stopInput();
    const context = this.context;
    this.context = this.gains = this.replaying = null;
    await context?.close();
  }
}

function join(parts) {
  const whole = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let filled = 0;
  for (const part of parts) {
    whole.set(part, filled);
    filled += part.length;
  }
  return whole;
}
