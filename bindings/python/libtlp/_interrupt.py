"""Ctrl-C stops a call of the library at once.

While a call runs, Python cannot run its handlers of signals.  The handler in C
writes the signal's number to a pipe (signal.set_wakeup_fd); a thread reads it
and aborts the session, so that the call returns and the handler in Python runs.
"""
import os
import signal
import threading
from typing import Any, Optional

from libtlp._native import lib


class _Watcher:
    """The pipe and its thread; one for the process, made again after a fork."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.session: Any = None
        self.old = -1
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        threading.Thread(target=self._watch, name="libtlp-signals",
                         daemon=True).start()

    def _watch(self) -> None:
        while True:
            signals = os.read(self.reader, 64)
            if not signals:
                return
            if self.old >= 0:
                try:
                    os.write(self.old, signals)
                except OSError:
                    pass
            if signal.SIGINT in signals:
                with self.lock:
                    if self.session is not None:
                        lib.tlp_session_abort(self.session)


_watcher: Optional[_Watcher] = None


class Abortable:
    """With this around a call of the main thread, Ctrl-C aborts the session."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.watcher: Optional[_Watcher] = None

    def __enter__(self) -> None:
        global _watcher  # pylint: disable=global-statement
        if threading.current_thread() is not threading.main_thread():
            return
        if not callable(signal.getsignal(signal.SIGINT)):
            return
        if _watcher is None or _watcher.pid != os.getpid():
            _watcher = _Watcher()
        w = _watcher
        with w.lock:
            if w.session is not None:
                return
            w.session = self.session
        w.old = signal.set_wakeup_fd(w.writer, warn_on_full_buffer=False)
        self.watcher = w

    def __exit__(self, *_exception: Any) -> None:
        w = self.watcher
        if w is None:
            return
        signal.set_wakeup_fd(w.old)
        w.old = -1
        with w.lock:
            w.session = None
