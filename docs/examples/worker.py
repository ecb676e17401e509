#!/usr/bin/env python3
"""A Covey worker in the standard library of Python (3.8 or later): proof that any language will do.

It connects to the control socket of the local daemon, registers the type `word_count`, and gets
tasks, each of which runs in a thread. When the daemon goes away the handlers go on; on return the
worker says what it still runs, and hears what of that it may keep. Answers are kept until taken.

    COVEY_SOCKET=/run/covey/covey.sock python3 worker.py
    covey submit word_count --payload '{"text": "to be or not to be"}'
"""
import json
import os
import queue
import random
import socket
import sys
import threading
import time


def word_count(payload, canceled, progress):
    """A handler: payload in, result out. `canceled` is set when nobody wants the result."""
    counts = {}
    for word in payload["text"].split():
        if canceled.is_set():
            raise RuntimeError("canceled")
        counts[word] = counts.get(word, 0) + 1
    progress({"words": sum(counts.values())})
    return counts


HANDLERS = {"word_count": word_count}
TYPES = [{"type": name, "concurrency": 4} for name in HANDLERS]
ANSWER_TIMEOUT_S = 30
RESULT_REFUSED = ("INVALID_PARAMS", "PAYLOAD_TOO_LARGE")


class Refused(Exception):
    def __init__(self, error):
        super().__init__(error["message"])
        self.data = error["data"]  # {"code": "STALE_ATTEMPT", "retryable": False, ...}


class Connection:
    """JSON-RPC 2.0, one object a line: answers go to their callers, the rest to `notified`."""

    def __init__(self, path, notified):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.notified, self.lock, self.answers = notified, threading.Lock(), {}
        self.last_id, self.ended = 0, threading.Event()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for line in self.socket.makefile("rb"):
                message = json.loads(line)
                if "method" in message:
                    self.notified(message["method"], message["params"])
                elif message.get("id") in self.answers:
                    self.answers.pop(message["id"]).put(message)
        except OSError:
            pass  # a reset ends the connection as an end of file does
        self.ended.set()
        for waiting in list(self.answers.values()):
            waiting.put(None)

    def call(self, method, **params):
        waiting = queue.Queue()
        with self.lock:
            self.last_id += 1
            self.answers[self.last_id] = waiting
            request = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
            self.socket.sendall(json.dumps(request).encode() + b"\n")
        if self.ended.is_set():
            waiting.put(None)
        try:
            message = waiting.get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty:
            message = None
        if message is None:
            raise ConnectionError("no answer to " + method)
        if "error" in message:
            raise Refused(message["error"])
        return message["result"]


class Run:
    """One attempt: `answer` is (method, params) as soon as its handler has ended."""

    def __init__(self, task):
        self.task, self.answer = task, None
        self.ref = {"id": task["id"], "attempt": task["attempt"]}
        self.canceled, self.lock = threading.Event(), threading.Lock()


class Worker:
    def __init__(self, path):
        self.path, self.connection, self.worker_id = path, None, None
        self.runs = {}  # (id, attempt) -> Run; those whose answer the daemon does not have

    def run_forever(self):
        delay_s = 0.05
        while True:
            connection = None
            try:
                connection = Connection(self.path, self.notified)
                lease_s = self.introduce(connection)
                delay_s = 0.05
                while not connection.ended.wait(lease_s / 3):
                    self.renew(connection)
            except (OSError, Refused) as error:
                print("no daemon:", error, file=sys.stderr)
            self.connection = None
            if connection:
                connection.socket.close()
            time.sleep(delay_s * random.uniform(0.5, 1.5))
            delay_s = min(2, delay_s * 2)

    def introduce(self, connection):
        connection.call("system.hello", client="worker.py", versions=[1])
        running = [run.ref for run in list(self.runs.values())]
        if self.worker_id is None:
            self.connection = connection  # a first task may come before this thread goes on
            answer = connection.call("worker.register", types=TYPES, name="python")
        else:
            answer = connection.call("worker.resume", worker_id=self.worker_id,
                                     running=running, types=TYPES, name="python")
        self.worker_id, self.connection = answer["worker_id"], connection
        for verdict in answer.get("running", []):
            run = self.runs.get((verdict["id"], verdict["attempt"]))
            if run and verdict["verdict"] == "stale":
                run.canceled.set()
        for run in list(self.runs.values()):
            threading.Thread(target=self.deliver, args=(run,)).start()
        return answer["lease_ms"] / 1000

    def renew(self, connection):
        ids = sorted({task_id for task_id, _ in list(self.runs)})
        stale = connection.call("worker.renew", ids=ids)["stale"] if ids else []
        for run in list(self.runs.values()):
            if run.ref["id"] in stale:
                run.canceled.set()

    def notified(self, method, params):
        if method == "worker.task":
            run = self.runs[params["id"], params["attempt"]] = Run(params)
            threading.Thread(target=self.work, args=(run,)).start()
        elif method == "worker.cancel" and (params["id"], params["attempt"]) in self.runs:
            self.runs[params["id"], params["attempt"]].canceled.set()

    def work(self, run):
        def progress(value):
            try:
                if self.connection:
                    self.connection.call("worker.progress", progress=value, **run.ref)
            except (OSError, Refused):
                pass  # progress is a courtesy: no attempt fails for it

        try:
            handler = HANDLERS[run.task["type"]]
            result = handler(run.task.get("payload"), run.canceled, progress)
            run.answer = ("worker.complete", dict(run.ref, result=result))
        except Exception as error:  # whatever a handler raises is the failure of its attempt
            self.fail(run, "%s: %s" % (type(error).__name__, error), True)
        self.deliver(run)

    def fail(self, run, message, retryable):
        error = {"message": message, "retryable": retryable}
        run.answer = ("worker.fail", dict(run.ref, error=error))

    def deliver(self, run):
        """Until the daemon has the answer; after a lost connection `introduce` comes here again."""
        key, connection = (run.ref["id"], run.ref["attempt"]), self.connection
        with run.lock:
            while key in self.runs and run.answer and connection:
                method, params = run.answer
                try:
                    connection.call(method, **params)
                    del self.runs[key]
                except OSError:
                    return
                except Refused as error:
                    if error.data["retryable"]:
                        time.sleep(error.data.get("retry_after_ms", 500) / 1000)
                    elif method == "worker.complete" and error.data["code"] in RESULT_REFUSED:
                        self.fail(run, str(error), False)
                    else:
                        del self.runs[key]  # STALE_ATTEMPT: the daemon kept it as an orphan result


if __name__ == "__main__":
    if "COVEY_SOCKET" not in os.environ:
        sys.exit("set COVEY_SOCKET to the control socket of the daemon")
    Worker(os.environ["COVEY_SOCKET"]).run_forever()
