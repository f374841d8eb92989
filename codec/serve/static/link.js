// The connection: one WebSocket a signal, JSON both ways, audio up, codes and audio down.

const CODES = 1;

export class Link {
  // on: {hello, ready, codebooks, codes(first, K, Uint16Array), sound(first, Int16Array), ended, failed}
  constructor(on) {
    this.on = on;
    this.finished = false;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(`${scheme}//${location.host}/ws`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = (event) => this.receive(event.data);
    this.socket.onclose = (event) => this.fail(event.reason || "the connection was lost");
  }

  start(settings) {
    this.socket.send(JSON.stringify({ type: "start", ...settings }));
  }

  sendSound(buffer) {
    // Audio that a slow network has not taken would only arrive too late.
    if (this.socket.readyState === WebSocket.OPEN && this.socket.bufferedAmount < 1 << 18) {
      this.socket.send(buffer);
      return true;
    }
    return false;
  }

  setCodebooks(value) {
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ type: "codebooks", value }));
    }
  }

  end() {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type: "end" }));
  }

  drop() {
    this.finished = true;
    this.socket.close();
  }

  receive(data) {
    if (this.finished) return;
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.type === "error") return this.fail(message.message);
      if (message.type === "ended") this.finished = true;
      this.on[message.type]?.(message);
      return;
    }
    const header = new DataView(data);
    const first = header.getUint32(4, true);
    if (header.getUint8(0) === CODES) {
      this.on.codes(first, header.getUint8(1), new Uint16Array(data, 8));
    } else {
      this.on.sound(first, new Int16Array(data, 8));
    }
  }

  fail(reason) {
    if (this.finished) return;
    this.finished = true;
    this.on.failed(reason);
  }
}
