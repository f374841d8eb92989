"""Live encoding and decoding: sound in pieces of any size, codes and sound as soon as they are known.

A stream has ``batch`` slots, each with a signal of its own, which starts, ends and starts anew
without regard to the others::

    encoder = model.streaming_encoder(batch=2)
    codes = encoder.push(pcm)                      # (2, K, n); frames that are complete by now
    codes = encoder.push(pcm, lengths=[320, 0])    # slot 1 has nothing new
    frames = encoder.lengths                       # (2,): frames of each slot in these codes
    codes = encoder.flush(mask=[True, False])      # slot 0 has ended: its last, padded frame
    encoder.reset(mask=[True, False])              # slot 0 takes a new signal

    decoder = model.streaming_decoder(batch=2)
    wav = decoder.push(codes, lengths=frames)      # (2, samples); decoder.lengths of each slot count
    wav = decoder.flush(encoder.num_samples)       # what the overlap still held, cut to the true end

The codes are those of ``model.encode``, and the sound is that of ``model.decode``.
"""

from codec.model.streaming_decoder import StreamingDecoder
from codec.model.streaming_encoder import StreamingEncoder

__all__ = ["StreamingDecoder", "StreamingEncoder"]
