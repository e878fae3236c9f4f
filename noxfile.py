"""One verb for each need: `nox -l` lists them. `nox` alone runs what a change must pass."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

ROOT = Path(__file__).parent

nox.options.sessions = ["tests", "lint", "sync", "stubs", "rust"]
nox.options.error_on_missing_interpreters = True
# Warnings about a missing uv or pip version tell nothing about this project.
os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")

# httpcore's extras are for the tests of what httpcore's own engine serves.
TESTS = [
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "httpx",
    "httpcore[http2,socks]",
    "httpx2; python_version >= '3.11'",
    "trio",
    "trustme",
    "truststore",
    "anyio",
    "uvloop",
    "gevent",
    "hypercorn",
    "tomli; python_version < '3.11'",
]
# Two for each core: most tests wait for a server or a clock most of the time.
PARALLEL = (f"--numprocesses={2 * (os.cpu_count() or 1)}", "--dist=worksteal")
# The versions that are supported, as far as they are installed. pyenv's come first: its shims are there for
# versions that it does not run.
os.environ["PATH"] = os.pathsep.join(
    [*map(str, sorted(Path.home().glob(".pyenv/versions/3.*/bin"))), os.environ["PATH"]]
)
PYTHONS = [version for version in ("3.10", "3.11", "3.12", "3.13") if shutil.which(f"python{version}")]
LINT = ["ruff", "mypy", "httpx", "trio", "trio-typing", "typing_extensions", "nox"]


def install(session: nox.Session, *extras: str) -> None:
    """Builds the native module into the source tree, where every session's Python finds it.

    The tree stands before site-packages on the path of whatever is run from it, so the module has to be
    in it. It is abi3: one build serves every Python, and a second one takes no time.
    """
    if not shutil.which("cargo"):
        session.error("a Rust toolchain is needed to build httpcore_hyper: https://rustup.rs")
    session.install("maturin>=1.14,<2")
    session.run("maturin", "develop", "--release", "--extras", ",".join(extras), silent=True)


@nox.session
def tests(session: nox.Session) -> None:
    """The Python suite, over real sockets. `nox -s tests -- -k cancel` selects."""
    install(session, "httpx", "trio")
    session.install(*TESTS)
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session
def fork(session: nox.Session) -> None:
    """The same suite where httpcore and httpx are names of httpcore2 and httpx2 (Python 3.11 and newer)."""
    install(session, "httpx2", "trio")
    session.install(*TESTS)
    session.run("pytest", *PARALLEL, *session.posargs, env={"HTTPCORE_HYPER_FLAVOUR": "httpcore2"})


@nox.session
def faults(session: nox.Session) -> None:
    """The fault matrix at full size, against our engine and against httpcore's own."""
    install(session, "httpx", "trio")
    session.install(*TESTS)
    environment = {"HTTPCORE_HYPER_TESTS": "full"}
    for engine in ("hyper", "httpcore"):
        session.run("pytest", "tests/faults", f"--engine={engine}", *session.posargs, env=environment)


def pythons_present() -> list[str]:
    """Every CPython that is supported and installed here: pyenv's, else the one on the path."""
    present = []
    for minor in range(10, 14):
        pyenv = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
        if pyenv:
            present.append(str(pyenv[-1]))
        elif shutil.which(f"python3.{minor}"):
            present.append(f"3.{minor}")
    return present


@nox.session(python=pythons_present())
def life(session: nox.Session) -> None:
    """Each exit and fork in 200 processes, on every CPython from 3.10 to 3.13 that is here.

    `nox -s life -- --runs 20 fork_idle` takes fewer of some.
    """
    install(session, "httpx", "trio")
    session.install(*TESTS)
    session.run("python", "tests/life", *session.posargs)


@nox.session(python=PYTHONS)
def tls(session: nox.Session) -> None:
    """All that is about TLS, at full size, on each Python there is."""
    install(session, "httpx", "trio")
    session.install(*TESTS)
    rooms = ("test_tls*.py", "test_certificate*.py", "faults/test_faults_tls.py")
    files = sorted(str(file) for room in rooms for file in ROOT.joinpath("tests").glob(room))
    session.run("pytest", *PARALLEL, *files, *session.posargs, env={"HTTPCORE_HYPER_TESTS": "full"})


@nox.session
def neighbours(session: nox.Session) -> None:
    """Libraries that stand on httpx, httpx2 or httpcore, against local servers; none may be missing."""
    install(session, "httpx", "trio")
    session.install(*TESTS, "-r", "tests/neighbours/requirements.txt")
    environment = {"HTTPCORE_HYPER_NEIGHBOURS": "all"}
    session.run("pytest", "tests/neighbours", *session.posargs, env=environment)


@nox.session
def upstream(session: nox.Session) -> None:
    """The suites of httpcore, httpx and others over our pools. `nox -s upstream -- httpcore` selects."""
    install(session, "httpx", "trio")
    session.install("-r", "tests/upstream/requirements.txt")
    session.run("python", "tests/upstream", *session.posargs)


@nox.session
def rust(session: nox.Session) -> None:
    """The core without an interpreter: format, clippy, tests, and loom for the pool's lock."""
    session.run("cargo", "fmt", "--check", external=True)
    # Crates of their own, whose lock files follow ours.
    for crate in ("bench/server", "fuzz"):
        manifest = str(ROOT / crate / "Cargo.toml")
        session.run("cargo", "fmt", "--check", "--manifest-path", manifest, external=True)
        session.run("cargo", "fetch", "--locked", "--manifest-path", manifest, silent=True, external=True)
    # As it is shipped, with the other cryptography, without rustls, and without Python.
    for chosen in (None, "python,ring", "python", ""):
        features = [] if chosen is None else ["--no-default-features", "--features", chosen]
        session.run(*("cargo", "clippy", "--all-targets", *features, "--", "-D", "warnings"), external=True)
    runner = ["nextest", "run"] if shutil.which("cargo-nextest") else ["test"]
    core = ["--no-default-features", "--features", "aws-lc-rs"]
    session.run("cargo", *runner, *core, *session.posargs, external=True)
    session.run(
        *("cargo", "test", "--no-default-features", "--release", "--lib", "pool::"),
        env={"RUSTFLAGS": "--cfg loom", "CARGO_TARGET_DIR": str(ROOT / "target" / "loom")},
        external=True,
    )


@nox.session
def tsan(session: nox.Session) -> None:
    """The core's tests under ThreadSanitizer. Advisory: std is not built for it, see `scripts/tsan.supp`."""
    target = "x86_64-unknown-linux-gnu"
    environment = {
        "RUSTC_BOOTSTRAP": "1",  # a stable compiler has the flag, and refuses it
        "RUSTFLAGS": "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
        "CARGO_TARGET_DIR": str(ROOT / "target" / "tsan"),
        "TSAN_OPTIONS": f"suppressions={ROOT / 'scripts' / 'tsan.supp'}",
    }
    command = ("cargo", "test", "--target", target, "--no-default-features", "--lib")
    session.run(*command, *session.posargs, env=environment, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff and mypy --strict."""
    session.install(*LINT)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.install("httpcore")
    session.run("mypy")


@nox.session
def sync(session: nox.Session) -> None:
    """Writes `_sync` from `_async`; with `-- --check` fails if it would change."""
    session.run("python", "scripts/sync.py", *session.posargs)


@nox.session
def stubs(session: nox.Session) -> None:
    """Checks `_rust.pyi` against the native module."""
    install(session, "httpx", "trio")
    session.install("mypy", "typing_extensions")
    session.run("python", "-m", "mypy.stubtest", "httpcore_hyper._rust")


def install_peers(session: nox.Session) -> None:
    """What the benchmark compares us with; urllib3 stays itself, see `bench/requirements.txt`."""
    session.install("-r", "bench/requirements.txt", env={"URLLIB3_NO_OVERRIDE": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmark: tables, ratios, verdicts, plots. `-- --quick` takes less than five minutes."""
    install(session, "httpx", "trio")
    install_peers(session)
    session.run("python", "-m", "bench", *session.posargs, env=own_server(session))


@nox.session
def instructions(session: nox.Session) -> None:
    """Instructions per request, by valgrind: a figure that does not drift. `-- --only hyper` selects."""
    install(session, "httpx", "trio")
    install_peers(session)
    session.run("python", "-m", "bench.instructions", *session.posargs)


def own_server(session: nox.Session) -> dict[str, str]:
    """Builds `bench/server`; returns the environment that tells where it is."""
    target = ROOT / "target" / "bench_server"
    manifest = ROOT / "bench" / "server" / "Cargo.toml"
    command = ("cargo", "build", "--release", "--locked", "--manifest-path", str(manifest))
    session.run(*command, env={"CARGO_TARGET_DIR": str(target)}, external=True)
    return {"BENCH_SERVER": str(target / "release" / "bench_server")}


@nox.session
def soak(session: nox.Session) -> None:
    """Requests of every kind against an ill-behaved server. `nox -s soak -- 5` takes five minutes in all."""
    wheels = ROOT / "target" / "soak" / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    # A wheel of its own, with faults in its sockets, in the session's Python alone: the module in the tree
    # stays what it was. It speaks no TLS, so it needs no rustls, and no whole-program optimisation.
    command = ("maturin", "build", "--release", "--no-default-features", "--features", "python,faulty-io")
    session.install("maturin>=1.14,<2")
    session.run(
        *(*command, "--out", str(wheels)),
        env={
            "CARGO_TARGET_DIR": str(ROOT / "target" / "soak"),
            "CARGO_PROFILE_RELEASE_LTO": "off",
            "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
        },
        silent=True,
    )
    (wheel,) = wheels.glob("*.whl")
    session.install("anyio", "httpcore", "trio", "uvloop", "matplotlib")
    session.install("--force-reinstall", "--no-deps", str(wheel))
    session.run("python", "soak", *session.posargs, env=own_server(session))


@nox.session
def cancels(session: nox.Session) -> None:
    """How soon a server sees a cancel; then 100,000 on each loop, and what is left. `-- --quick`: fewer."""
    install(session, "httpx", "trio")
    session.install(*TESTS)
    environment = own_server(session)
    session.run("python", "-m", "bench.cancels", *session.posargs, env=environment)
    # More than 100,000 of them are cancelled; the others may have been answered in time.
    requests = "10000" if "--quick" in session.posargs else "250000"
    storm = ("--doors", "asyncio,uvloop,trio", "--cancels", "0.8", "--requests", requests)
    session.run("python", "soak", "60", *storm, env=environment)


@nox.session
def scale(session: nox.Session) -> None:
    """10,000 requests at once over 100 connections: p99, and aiohttp's. `-- --quick`: ours alone."""
    install(session, "httpx", "trio")
    if "--quick" in session.posargs:
        session.install("uvloop", "trustme")
    else:
        install_peers(session)
    session.run("python", "-m", "bench.scale", *session.posargs, env=own_server(session))


@nox.session
def beside(session: nox.Session) -> None:
    """How long a pool's requests take beside other threads that want the interpreter; httpcore's as well."""
    install(session, "httpx", "trio")
    session.run("python", "-m", "bench.beside", *session.posargs)


@nox.session
def weight(session: nox.Session) -> None:
    """Memory and cost of many connections, requests, pools, bytes; import time. `-- --full` at full size."""
    install(session, "httpx", "trio")
    install_peers(session)
    session.run("python", "-m", "bench.weight", *session.posargs, env=own_server(session))


@nox.session
def system_calls(session: nox.Session) -> None:
    """System calls per request, by perf or strace; `nox -s bench` has them too. `-- --only hyper` selects."""
    install(session, "httpx", "trio")
    install_peers(session)
    session.run("python", "-m", "bench.system_calls", *session.posargs)


FUZZ_TARGETS = ("response", "chunked", "request", "failures", "pool")
# What `cargo fuzz` sets, less the sanitizers, which a stable compiler has none of: libFuzzer is told which
# branches an input takes, and what it is compared with.
FUZZ_FLAGS = (
    "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
    " -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
    " -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0"
)


@nox.session
def fuzz(session: nox.Session) -> None:
    """The properties of `fuzz/` for any input. `nox -s fuzz -- 600 response`: seconds for each, and which."""
    seconds, *targets = session.posargs or ["60"]
    said = session.run("rustc", "-vV", silent=True, external=True)
    host = next(line.split()[1] for line in str(said).splitlines() if line.startswith("host:"))
    folder, target = ROOT / "fuzz", ROOT / "target" / "fuzz"
    # The flags are for the targets alone, which naming the host as a target says; macros need none.
    command = ("cargo", "build", "--release", "--locked", "--bins", "--target", host)
    session.run(
        *(*command, "--manifest-path", str(folder / "Cargo.toml")),
        env={"CARGO_TARGET_DIR": str(target), "RUSTFLAGS": FUZZ_FLAGS},
        external=True,
    )
    for name in targets or FUZZ_TARGETS:
        corpus, artifacts = folder / "corpus" / name, folder / "artifacts" / name
        corpus.mkdir(parents=True, exist_ok=True)
        artifacts.mkdir(parents=True, exist_ok=True)
        seeds = folder / "seeds" / name
        session.run(
            str(target / host / "release" / name),
            *(f"-max_total_time={seconds}", f"-artifact_prefix={artifacts}/", "-print_final_stats=1"),
            *(f"-dict={folder / 'http.dict'}", "-verbosity=0", "-print_funcs=0", str(corpus)),
            *([str(seeds)] if seeds.exists() else []),
            external=True,
        )


@nox.session
def demo(session: nox.Session) -> None:
    """Thousands of requests to a local server, over our transport and over httpx's own."""
    install(session, "httpx", "trio")
    session.install("-r", "bench/demo-requirements.txt")
    session.run("python", "-m", "bench.demo", *session.posargs)
