"""What hostile code may try with the compile profile: the tool chain's programs, and processes.

As in `sandbox_attacks`: what is stopped raises, what returns says what it got.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
LOADERS = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1")

# Tries what the job itself may not, and prints the error number of each: 0 where it worked.
PROBE = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, long result) {
    printf("%s %d\n", what, result < 0 ? errno : 0);
}

int main(int count, char **argument) {
    char environ[64];
    char *shell[] = {"sh", "-c", "true", NULL};
    int engine = atoi(argument[3]), template = atoi(argument[4]), status;
    snprintf(environ, sizeof environ, "/proc/%d/environ", template);
    say("read_outside", open(argument[1], O_RDONLY));
    say("read_store", open(argument[2], O_RDONLY));
    say("read_home", open(argument[5], O_RDONLY | O_DIRECTORY));
    say("read_environment", open(environ, O_RDONLY));
    say("write_outside", open(argument[1], O_WRONLY | O_TRUNC));
    say("chmod_outside", chmod(argument[1], 0777));
    say("tcp", socket(AF_INET, SOCK_STREAM, 0));
    say("unix", socket(AF_UNIX, SOCK_STREAM, 0));
    say("signal", kill(engine, SIGTERM));
    say("trace", ptrace(PTRACE_ATTACH, template, 0, 0));
    say("session", setsid());
    say("group", setpgid(0, 0));
    say("shell", execv("/bin/sh", shell));
    fflush(stdout);
    if (fork() == 0) {
        say("child_reads", open(argument[1], O_RDONLY));
        fflush(stdout);
        _exit(0);
    }
    wait(&status);
    return 0;
}
"""
SLEEPER = """
#include <signal.h>
#include <unistd.h>
int main(void) {
    signal(SIGTERM, SIG_IGN);
    for (int each = 0; each < 3; each++) fork();
    for (;;) sleep(600);
}
"""


def build(source, scratch):
    """Compile a C program in the scratch folder."""
    (scratch / "program.c").write_text(source)
    command = ["gcc", "program.c", "-o", "program"]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return scratch / "program"


def loader():
    return next(path for path in LOADERS if Path(path).exists())


def start_compiler(payload, scratch):
    return {"text": subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout}


def read_headers(payload, scratch):
    return {"text": Path("/usr/include/stdio.h").read_text()}


def run_what_was_compiled(payload, scratch):
    return {"code": subprocess.run([build(PROBE, scratch)]).returncode}


def run_through_the_loader(payload, scratch):
    given = ("victim", "store", "engine")
    words = [str(payload[name]) for name in given] + [str(os.getppid()), payload["home"]]
    command = [loader(), str(build(PROBE, scratch)), *words]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = (line.split() for line in answer.stdout.splitlines())
    return {what: int(number) for what, number in lines}


def load_what_was_compiled(payload, scratch):
    """A library, as `torch.compile` makes one, that opens a socket in its constructor."""
    source = """
    #include <errno.h>
    #include <sys/socket.h>
    int number;
    __attribute__((constructor)) static void begin(void) {
        number = socket(AF_INET, SOCK_DGRAM, 0) < 0 ? errno : 0;
    }
    """
    (scratch / "library.c").write_text(source)
    command = ["gcc", "-shared", "-fPIC", "library.c", "-o", "library.so"]
    subprocess.run(command, cwd=scratch, check=True)
    return {"socket": ctypes.c_int.in_dll(ctypes.CDLL(scratch / "library.so"), "number").value}


def shell_through_the_loader(payload, scratch):
    done = subprocess.run([loader(), "/bin/sh", "-c", "true"], capture_output=True, text=True)
    return {"code": done.returncode, "error": done.stderr}


def script(payload, scratch):
    (scratch / "script").write_text(f"#!{sys.executable}\nprint(1)\n")
    return {"code": subprocess.run([scratch / "script"]).returncode}


def compile_to_outside(payload, scratch):
    (scratch / "a.c").write_text("int x;")
    command = ["gcc", "-c", str(scratch / "a.c"), "-o", f"{payload['outside']}/a.o"]
    done = subprocess.run(command, capture_output=True, text=True)
    return {"code": done.returncode, "error": done.stderr}


def compile_from_outside(payload, scratch):
    (scratch / "a.c").write_text(f'#include "{payload["victim"]}"\n')
    done = subprocess.run(["gcc", "-E", "a.c"], cwd=scratch, capture_output=True, text=True)
    return {"code": done.returncode, "error": done.stderr}


def outlive_the_deadline(payload, scratch):
    program = build(SLEEPER, scratch)
    subprocess.Popen([loader(), str(program)])
    time.sleep(600)
    return {}


def outlive_the_job(payload, scratch):
    program = build(SLEEPER, scratch)
    subprocess.Popen([loader(), str(program)])
    return {}


def orphans_that_stay(payload, scratch):
    if os.fork() == 0:
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        os._exit(0)
    os.wait()
    return {}


def leave_the_session(payload, scratch):
    return {"session": os.setsid()}


def new_namespace_by_clone(payload, scratch):
    flags = 0x10000000 | signal.SIGCHLD  # CLONE_NEWUSER
    number = 56 if os.uname().machine == "x86_64" else 220
    result = LIBC.syscall(number, ctypes.c_long(flags), 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    if result < 0:
        raise OSError(ctypes.get_errno(), "clone")
    return {}


def fork_bomb(payload, scratch):
    while True:
        os.fork()


def memory_of_many(payload, scratch):
    for _ in range(24):
        if os.fork() == 0:
            held = bytearray(100 << 20)
            time.sleep(600 + held[0])
    time.sleep(600)
    return {}


def hidden_files_of_many(payload, scratch):
    """Children write into removed files that the job holds open, and are gone uncounted."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    held = []
    for number in range(40):
        held.append((scratch / f"file{number}").open("wb"))
        (scratch / f"file{number}").unlink()
        if os.fork() == 0:
            held[-1].write(os.urandom(4 << 20))
            held[-1].flush()
            os._exit(0)
    time.sleep(600)
    return {}


def hidden_files_in_many(payload, scratch):
    """Each child holds a removed file that it has reserved, which no count of writes shows."""
    for number in range(10):
        if os.fork() == 0:
            file = (scratch / f"file{number}").open("wb")
            (scratch / f"file{number}").unlink()
            os.posix_fallocate(file.fileno(), 0, 8 << 20)
            time.sleep(600)
    time.sleep(600)
    return {}


def where_caches_are(payload, scratch):
    names = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TMPDIR", "HOME")
    found = {name: os.environ.get(name) for name in names}
    (Path(found["TORCHINDUCTOR_CACHE_DIR"] or scratch) / "poison").parent.mkdir(exist_ok=True)
    (Path(found["TORCHINDUCTOR_CACHE_DIR"] or scratch) / "poison").write_text("code")
    return {**found, "temporary": tempfile.gettempdir()}


def stubborn_family(payload, scratch):
    """Start a child, its child, and a program from a thread, all deaf to signals; wait for ever."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    (scratch / "job").write_text(str(os.getpid()))
    if os.fork() == 0:
        (scratch / "child").write_text(str(os.getpid()))
        if os.fork() == 0:
            (scratch / "grandchild").write_text(str(os.getpid()))
        time.sleep(600)
    time.sleep(600)
    return {}


def program_from_a_thread(payload, scratch):
    """Become another program from a thread: what the kernel promised the first one is gone."""
    waits = "import os, signal, time; signal.signal(15, signal.SIG_IGN)\n"
    waits += f"open({str(scratch / 'program')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    arguments = [sys.executable, "-I", "-S", "-c", waits]
    threading.Thread(target=os.execv, args=(os.path.realpath(sys.executable), arguments)).start()
    time.sleep(600)
    return {}
