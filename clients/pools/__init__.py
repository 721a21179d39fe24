"""Where clients run: in this process, or on Ray. The same blocks, the same bits."""
