"""Sizes of the packets in an Ogg file (RFC 3533): the codec's bits without the container's."""


def packet_sizes(data: bytes) -> list[int]:
    """Bytes of each packet of a one-stream Ogg file, in order, headers included.

    Raises:
        ValueError: when ``data`` is not a whole Ogg file.
    """
    sizes, current, position = [], 0, 0
    while position < len(data):
        if data[position : position + 4] != b"OggS" or position + 27 > len(data):
            raise ValueError(f"no Ogg page at byte {position}")
        count = data[position + 26]
        lacing = data[position + 27 : position + 27 + count]
        for size in lacing:
            current += size
            # A segment shorter than 255 bytes ends its packet; packets may cross pages.
            if size < 255:
                sizes.append(current)
                current = 0
        position += 27 + count + sum(lacing)
    return sizes
