"""What codecs share: the wire, and how numbers are packed."""
