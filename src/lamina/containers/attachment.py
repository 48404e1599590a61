"""Attached to a monitor: bytes, signals and the terminal's size, between a caller and conmon.

The socket carries packets. Towards us each begins with a byte that names the stream (2 standard
output, 3 standard error); from us they are plain input, and shutting down our half ends the
container's input. The container's end closes the socket.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress
from pathlib import Path

from lamina.containers.console import (
    DetachKeys,
    SignalProxy,
    Streams,
    parse_detach_keys,
    raw_terminal,
    terminal_size,
)
from lamina.containers.monitor import resize

_STDOUT = 2
_STDERR = 3
_PACKET_BYTES = 16 << 10
_RECEIVE_BYTES = 64 << 10


def connect(folder: Path) -> socket.socket:
    """The attach socket of a monitor's folder, by a path that always fits an address."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        found.connect(f"/proc/self/fd/{descriptor}/attach")
    except BaseException:
        found.close()
        raise
    finally:
        os.close(descriptor)
    return found


def carry(connection: socket.socket, streams: Streams, *, terminal: bool) -> bool:
    """Carry bytes until the container closes the socket (True) or the caller detaches (False).

    A terminal of the caller's is in raw mode meanwhile. The connection is closed.
    """
    with connection, raw_terminal(streams.stdin if terminal else None):
        return _Relay(connection, streams, terminal).run()


def passing_signals(folder: Path, streams: Streams, *, terminal: bool) -> SignalProxy:
    """Takes the caller's signals for the container, and its terminal's size for the monitor."""
    return SignalProxy(
        enabled=streams.signal_proxy,
        on_resize=(lambda: fit_terminal(folder, streams)) if terminal else None,
    )


def fit_terminal(folder: Path, streams: Streams) -> None:
    """Give the container's terminal the size of the caller's."""
    size = terminal_size(streams)
    while size is not None:
        resize(folder, *size)
        # It may have changed, and this have been interrupted to tell so, while this one waited.
        told, size = size, terminal_size(streams)
        if size == told:
            return


class _Relay:
    def __init__(self, connection: socket.socket, streams: Streams, terminal: bool) -> None:
        self._connection = connection
        self._socket = connection.fileno()
        self._stdin = streams.stdin
        self._outputs = {_STDOUT: streams.stdout, _STDERR: streams.stderr}
        self._keys = DetachKeys(parse_detach_keys(streams.detach_keys) if terminal else b"")
        self._pending = b""
        self._poll = select.poll()

    def run(self) -> bool:
        self._connection.setblocking(False)
        self._poll.register(self._socket, select.POLLIN)
        if self._stdin is not None:
            self._poll.register(self._stdin, select.POLLIN)
        while True:
            for descriptor, event in self._poll.poll():
                if descriptor == self._socket:
                    if event & select.POLLOUT:
                        self._send()
                    if event & ~select.POLLOUT and not self._receive():
                        return True
                elif not self._read_input():
                    return False

    def _receive(self) -> bool:
        try:
            packet = self._connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        if not packet:
            return False
        target = self._outputs.get(packet[0])
        if target is not None:
            write_all(target, memoryview(packet)[1:])
        return True

    def _read_input(self) -> bool:
        """Take typed input in; False when the detach keys were typed."""
        assert self._stdin is not None
        try:
            data = os.read(self._stdin, _PACKET_BYTES)
        except BlockingIOError:
            return True
        except OSError:  # EIO: a terminal that is gone
            data = b""
        if not data:
            self._end_input()
            return True
        self._pending, detach = self._keys.passed(data)
        if detach:
            return False
        if self._pending:
            # One packet at a time: no more is read until this one is sent.
            self._poll.unregister(self._stdin)
            self._poll.register(self._socket, select.POLLIN | select.POLLOUT)
            self._send()
        return True

    def _send(self) -> None:
        try:
            self._connection.send(self._pending, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            pass  # it reads no more, but may still write
        self._pending = b""
        self._poll.register(self._socket, select.POLLIN)
        if self._stdin is not None:
            self._poll.register(self._stdin, select.POLLIN)

    def _end_input(self) -> None:
        assert self._stdin is not None
        self._poll.unregister(self._stdin)
        self._stdin = None
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)


def write_all(descriptor: int, data: memoryview | bytes) -> None:
    """Write everything, also to a descriptor that somebody made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            poller = select.poll()
            poller.register(descriptor, select.POLLOUT)
            poller.poll()
