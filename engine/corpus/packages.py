"""Fetching of npm packages that hold text: pinned by digest, resumable, nothing of them is run.

`npm pack` is asked where npm is installed: it knows the registry, the proxy and the certificates
of this machine.  Without npm the registry that the environment names (NPM_CONFIG_REGISTRY) is
asked over HTTPS, and a download that broke off is continued.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.corpus import file_digest
from genesys_engine.plugins.sandbox.starting import retried

REGISTRY_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
NPM_SECONDS = 600
HTTP_SECONDS = 60.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Package:
    """One version of a package, and the SHA-256 of its archive."""

    name: str
    version: str
    sha256: str
    bytes: int

    @property
    def archive(self) -> str:
        """Name of the archive, as npm writes it: scope and name joined by a hyphen."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    @property
    def path(self) -> str:
        """Path of the archive below a registry's address."""
        return f"{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


def fetch(package: Package, folder: Path, progress: Progress) -> Path:
    """Return the archive of `package` in `folder`, fetching it where it is not there yet.

    Raises:
        EnvironmentProblem: no way to the registry, or its archive is not the pinned one.
    """
    archive = folder / package.archive
    if archive.exists() and file_digest(archive) == package.sha256:
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    progress(f"fetching {package.name} {package.version} ({package.bytes / 1e6:.1f} MB)")
    partial = archive.with_name(archive.name + ".partial")
    npm = shutil.which("npm")
    if npm is not None:
        _npm_pack(npm, package, partial)
    else:
        _download(_registry(package, folder), package, partial)
    found = file_digest(partial)
    if found != package.sha256:
        partial.unlink()
        raise EnvironmentProblem(
            f"the archive has the SHA-256 {found}, not {package.sha256}",
            where=f"{package.name} {package.version}",
            hint="try again; if it fails again, the registry does not serve the published package",
        )
    partial.replace(archive)
    return archive


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (path within the package, content) of the plain files in an archive.

    Raises:
        EnvironmentProblem: a path would leave the package.
    """
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            if not member.isfile():
                continue
            try:
                safe = tarfile.data_filter(member, str(archive.parent))
            except tarfile.FilterError as error:
                raise EnvironmentProblem(
                    f"the archive is damaged: {error}", where=str(archive)
                ) from error
            content = tar.extractfile(member)
            if content is not None:
                yield safe.name.partition("/")[2], content.read()


def _npm_pack(npm: str, package: Package, target: Path) -> None:
    """Have npm fetch the archive (no script of the package is run) and put it at `target`."""
    work = target.with_name(target.name + ".npm")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    command = [npm, "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}"]
    try:
        done = retried(
            lambda: subprocess.run(
                command, cwd=work, capture_output=True, text=True, timeout=NPM_SECONDS, check=False
            )
        )
        if done.returncode == 0:
            (work / package.archive).replace(target)
            return
        output = (done.stderr or done.stdout).strip().splitlines()
        reason = output[0] if output else f"npm pack exited with {done.returncode}"
    except subprocess.TimeoutExpired:
        reason = f"npm pack did not finish within {NPM_SECONDS} s"
    except OSError as error:
        reason = str(error)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    raise _unreachable(package, reason, target.parent)


def _registry(package: Package, folder: Path) -> str:
    """Return the registry's address that the environment names, ending in a slash."""
    for variable in REGISTRY_VARIABLES:
        if address := os.environ.get(variable):
            return address.rstrip("/") + "/"
    raise _unreachable(
        package, "npm is not installed and NPM_CONFIG_REGISTRY names no registry", folder
    )


def _download(registry: str, package: Package, target: Path) -> None:
    """Continue the download of the archive at `target`, or begin it."""
    import httpx

    have = target.stat().st_size if target.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with httpx.stream(
            "GET", registry + package.path, headers=headers, timeout=HTTP_SECONDS,
            follow_redirects=True,
        ) as answer:  # fmt: skip
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # all of it is there already; the digest decides
            answer.raise_for_status()
            continued = answer.status_code == httpx.codes.PARTIAL_CONTENT
            with target.open("ab" if continued else "wb") as file:
                for part in answer.iter_bytes():
                    file.write(part)
    except (httpx.HTTPError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise _unreachable(package, reason, target.parent) from error


def _unreachable(package: Package, reason: str, folder: Path) -> EnvironmentProblem:
    """Return the error for a package that cannot be had."""
    return EnvironmentProblem(
        f"download failed: {reason}",
        where=f"{package.name} {package.version}",
        hint="go online with npm, or set NPM_CONFIG_REGISTRY; on a machine without a network put"
        f" the archive {package.archive} (SHA-256 {package.sha256[:16]}...) into {folder} and"
        " run the same command",
    )


def texts_digest(texts: Iterator[tuple[str, bytes]]) -> str:
    """Return the hex SHA-256 over names and contents."""
    digest = hashlib.sha256()
    for name, content in texts:
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def remove_archives(packages: tuple[Package, ...], folder: Path) -> None:
    """Remove archives that have served."""
    for package in packages:
        with contextlib.suppress(FileNotFoundError):
            (folder / package.archive).unlink()
