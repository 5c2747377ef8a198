"""terminal: run a program that wants one, and type when it says what is waited for.

    terminal.py WAIT KEYS [WAIT KEYS]... -- COMMAND...

Each WAIT is a regular expression looked for in what was shown since the last keys ("" for none). What was shown
goes to standard output. Exit status: the command's; 124 when it waited or ran for more than a minute."""
import os
import pty
import re
import select
import sys
import time

at = sys.argv.index("--")
steps, command = list(zip(sys.argv[1:at:2], sys.argv[2:at:2])), sys.argv[at + 1:]
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "vt100"
    os.execvp(command[0], command)
shown, end = b"", time.monotonic() + 60
while True:
    if steps and re.search(steps[0][0].encode(), shown):
        os.write(fd, steps.pop(0)[1].encode())
        shown = b""
    if time.monotonic() > end:
        print("\n(waiting for %r)" % (steps[0][0] if steps else "its end"))
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        sys.exit(124)
    if not select.select([fd], [], [], 0.2)[0]:
        continue
    try:
        part = os.read(fd, 65536)
    except OSError:
        break
    if not part:
        break
    shown += part
    sys.stdout.buffer.write(part)
    sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
