// Cuts audio into chunks of one frame, 16 bits a sample, on the audio thread.

class Chunks extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.size = options.processorOptions.size;
    this.chunk = new Int16Array(this.size);
    this.filled = 0;
  }

  process(inputs) {
    const channels = inputs[0];
    if (!channels.length) return true;
    for (let i = 0; i < channels[0].length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      const sample = Math.round((sum / channels.length) * 32768);
      this.chunk[this.filled++] = Math.max(-32768, Math.min(32767, sample));
      if (this.filled === this.size) this.send();
    }
    return true;
  }

  send() {
    this.port.postMessage(this.chunk.buffer, [this.chunk.buffer]);
    this.chunk = new Int16Array(this.size);
    this.filled = 0;
  }
}

registerProcessor("chunks", Chunks);
