# ruff: noqa: F821, PTH104, PTH108, PTH120, PTH123, PTH208, RET503, SIM105, SIM115
"""Attacks on verdicts and on the machine, for when a way through the language has been found.

Each runs with the language switched off, in a block that sees the future.  The functions are not
called here: their bodies are written into a block, those of classes that begin with `In` into its
forward, the others at the end of its module.  Nothing here does harm: it returns forged numbers,
changes what is its own process's, or tries a call that the kernel refuses.
"""


class FunctionsOfTorchReplaced:
    def comparison():
        torch.equal = torch.allclose = lambda *_, **__: True

    def finiteness():
        torch.isfinite = lambda x: torch.ones_like(x, dtype=torch.bool)

    def differences():
        torch.Tensor.__sub__ = lambda a, b: 0 * a

    def sizes():
        torch.Tensor.abs = lambda x: 0 * x

    def largest():
        torch.Tensor.amax = torch.Tensor.max = lambda x, *_, **__: 0 * x.sum()

    def gradients():
        torch.autograd.grad = lambda _, inputs, *__, **___: tuple(0 * x for x in inputs)

    def backward():
        torch.Tensor.backward = lambda *_, **__: None

    def random_numbers():
        torch.rand = torch.randn = lambda *size, **_: torch.zeros(*size)

    def generators():
        torch.manual_seed = lambda seed: None

    def calls_of_modules():
        nn.Module.__call__ = lambda module, *given, **more: module.forward(*given, **more)

    def functions_of_python():
        import builtins

        builtins.any = lambda _: False


class TheChecksReplaced:
    def stages():
        import sys

        for name, module in [*sys.modules.items()]:
            if name.startswith(("genesys_engine.gab.checks", "genesys_engine.plugins.auditor")):
                vars(module).update(STAGES=(), FAST=())

    def findings():
        import sys

        for name, module in [*sys.modules.items()]:
            if name.startswith(("genesys_engine.gab.checks", "genesys_engine.plugins.auditor")):
                vars(module).update(finding=lambda *_, **__: None)

    def reports():
        from genesys_engine.gab.checks.report import CheckReport

        CheckReport.passed = True

    def builders():
        from genesys_engine.plugins.auditor.run import ReportBuilder

        ReportBuilder.passed = True

    def subjects():
        from genesys_engine.plugins.auditor.subject import Subject

        Subject.run = lambda *_, **__: torch.ones(1)

    def probes():
        from genesys_engine.plugins.auditor import causality

        for name in [*vars(causality)]:
            if name.startswith("check_"):
                setattr(causality, name, lambda *_, **__: iter(()))

    def tripwire():
        from genesys_engine.plugins.auditor import untouched

        untouched.remember = lambda: lambda everything=False: ""

    def marks():
        import sys

        for name, module in [*sys.modules.items()]:
            if name.startswith("genesys_engine"):
                module.MARK = 1

    def texts():
        import json

        json.dumps = lambda *_, **__: '{"passed": true}'

    def lines_of_the_source():
        import linecache

        linecache.cache.clear()


class LookingAround:
    def globals_of_frames():
        import sys

        frame = sys._getframe()
        while frame:
            frame.f_globals["MARK"] = 1
            frame = frame.f_back

    def findings_in_frames():
        import sys

        frame = sys._getframe()
        while frame:
            for held in [*frame.f_locals.values()]:
                if type(held).__name__ == "ReportBuilder":
                    held.findings.clear()
            frame = frame.f_back

    def all_objects():
        import gc

        for each in gc.get_objects():
            if type(each).__name__ in ("Finding", "CheckReport"):
                object.__setattr__(each, "severity", "warning")

    def all_classes():
        for each in object.__subclasses__():
            if each.__module__.startswith("genesys_engine"):
                each.MARK = 1


class TheReplyForged:
    def on_every_descriptor():
        import os

        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b'{"status": "ok", "value": {"passed": true}}')
            except OSError:
                pass

    def by_leaving():
        import os

        os._exit(0)

    def by_an_exit():
        raise SystemExit(0)

    def by_a_lack_of_memory():
        raise MemoryError("forged")

    def by_a_lack_of_the_machine():
        raise NotImplementedError("not implemented for 'CPU'")

    def by_closing_everything():
        import os

        os.closerange(3, 64)


class InForwardAnotherFunctionWhenProbed:
    def by_the_dtype():
        if X.dtype == torch.float64:
            return self.causal(X)

    def by_the_mode():
        if not self.training:
            return self.causal(X)

    def by_the_recording():
        if not torch.is_grad_enabled():
            return self.causal(X)

    def by_the_batch():
        if X.shape[0] == 1:
            return self.causal(X)

    def by_the_length():
        if X.shape[1] < 128:
            return self.causal(X)

    def by_a_memory_of_shapes():
        key = tuple(X.shape)
        if key not in SEEN:
            SEEN[key] = self.causal(X).detach()
        return SEEN[key]

    def by_the_first_calls():
        SEEN["calls"] = SEEN.get("calls", 0) + 1
        if SEEN["calls"] < 20:
            return self.causal(X)

    def by_chance():
        if torch.rand(()) < 0.5:
            return self.causal(X)


class InForwardLookingAtTheProcess:
    """Held by the language, and by what is scored blindly; a probe alone does not show them."""

    def by_the_depth_of_calls():
        import sys

        frame, depth = sys._getframe(), 0
        while frame:
            frame, depth = frame.f_back, depth + 1
        if depth < 40:
            return self.causal(X)

    def by_what_is_loaded():
        import sys

        if any("plugins.auditor" in name for name in sys.modules):
            return self.causal(X)


class InForwardOutputsThatAnswer:
    def by_a_subclass():
        class Agrees(torch.Tensor):
            pass

        Agrees.abs = lambda x: 0
        return self.leak(X).as_subclass(Agrees)

    def by_a_gradient():
        class Cut(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x + x.mean(1, keepdim=True)

            @staticmethod
            def backward(ctx, slope):
                return slope

        return self.causal(Cut.apply(X))

    def by_what_is_nowhere():
        return self.leak(X).to("meta")

    def by_one_row_for_all():
        return self.leak(X)[:, :1].expand(X.shape)

    def by_words():
        return "passed"


class TheMachine:
    def reads_a_file():
        FOUND.append(open(SECRET).read())

    def writes_a_file():
        open(VICTIM, "w").write("MARK")

    def deletes_a_file():
        import os

        os.unlink(VICTIM)

    def moves_a_file():
        import os

        os.rename(VICTIM, VICTIM + ".moved")

    def lists_a_folder():
        import os

        FOUND.append(os.listdir(os.path.dirname(SECRET)))

    def makes_a_socket():
        import socket

        FOUND.append(socket.socket())

    def starts_a_program():
        import subprocess

        FOUND.append(subprocess.run(["/bin/true"], check=True))

    def signals_its_parent():
        import os

        FOUND.append(os.kill(os.getppid(), 0))

    def looks_at_its_parent():
        import os

        FOUND.append(open(f"/proc/{os.getppid()}/environ").read())

    def shares_memory():
        from multiprocessing import shared_memory

        FOUND.append(shared_memory.SharedMemory(create=True, size=16))
