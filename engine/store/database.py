"""A folder with one SQLite file: what the store of a run and that of a study have in common.

One process writes, any number read.  The folder has its database only once everything that belongs
to the beginning is in it, so that a kill leaves either nothing or something that can be resumed.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.store.columns import read_json
from genesys_engine.engine.store.lock import LOCK, exclusive, is_held
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.private import close_to_others, private_file, private_folder

EXPERIMENT = "experiment.toml"
"""A copy of the experiment's file, in the folder of what it started."""
CACHE_KIB = 32 * 1024  # holds the indices of 10,000 designs, so that their cost stays flat

_CLAIMS = 5  # tries to begin in a folder that others begin in, fail and clear
_META = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"


class Database:
    """Reads and, when opened for writing, writes such a folder."""

    kind: ClassVar[str]
    """What the folder holds: `run`, `study`."""
    file: ClassVar[str]
    """Name of the SQLite file."""
    format: ClassVar[int]
    schema: ClassVar[str]
    """The tables, `meta` excepted."""
    how_to_get_one: ClassVar[str]
    """Hint where the folder holds none."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: Any = None) -> None:
        self.folder = folder
        self._db = connection
        self._db.row_factory = sqlite3.Row
        self._lock = lock
        self._owns_folder = False  # made it, in `create`
        self._syncing: bool | None = None

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self.folder / self.file

    # --- opening -----------------------------------------------------------------------------

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Tell whether `folder` holds one."""
        return (folder / cls.file).is_file()

    @classmethod
    def create(
        cls, folder: Path, meta: Mapping[str, object], experiment: bytes | None = None
    ) -> Self:
        """Make the folder with the text of the experiment's file and an empty store.

        Of several processes that begin in one folder at a time, one gets it.

        Raises:
            InputError: `folder` is in use (see `refuse_used`).
            EnvironmentProblem: another process is beginning there now.
        """
        made, lock = cls._claim(folder)
        try:
            cls._fill(folder, meta, experiment)
            store = cls(folder, connect(folder / cls.file), lock)
        except BaseException:  # a second try must not find a folder that is in use
            _clear(folder, lock, whole=made)
            raise
        store._owns_folder = made
        return store

    @classmethod
    def _claim(cls, folder: Path) -> tuple[bool, Any]:
        """Take the lock of a folder in which nothing has begun; tell whether it was made here.

        Only who holds the lock looks for the last time, and only that process may clear the folder:
        another one may begin, fail and clear it between any two steps of this one.
        """
        for left in reversed(range(_CLAIMS)):
            cls.refuse_used(folder)
            try:
                made = private_folder(folder)
                lock = exclusive(folder)
            except (FileNotFoundError, FileExistsError):  # whoever made it has cleared it
                if not left:
                    raise
                continue
            try:
                cls.refuse_used(folder)
            except BaseException:
                lock.close()
                raise
            return made, lock
        raise AssertionError("the last try returns or raises")

    def discard(self) -> None:
        """Remove what `create` made, for this has not begun; close it then has nothing to do."""
        lock, self._lock = self._lock, None
        self._db.close()
        _clear(self.folder, lock, whole=self._owns_folder)

    @classmethod
    def refuse_used(cls, folder: Path) -> None:
        """Raise `InputError` when `folder` holds anything but what a killed start has left.

        Also where it cannot be made, because it would lie in a file.
        """
        if cls.exists(folder):
            raise InputError(
                f"this folder already holds a {cls.kind}",
                where=str(folder),
                hint=f"resume it with `genesys-engine resume {folder}`, or use another --out",
            )
        if folder.exists() and not cls._is_begun(folder):
            raise InputError(
                f"the {cls.kind} folder exists and is not empty",
                where=str(folder),
                hint="give --out a folder that does not exist yet",
            )
        above = next(parent for parent in folder.absolute().parents if parent.exists())
        if not above.is_dir():
            raise InputError(
                f"the {cls.kind} folder cannot be created: {above} is a file",
                where=str(folder),
                hint="use another --out",
            )

    @classmethod
    def _is_begun(cls, folder: Path) -> bool:
        """Tell whether all that `folder` holds was left by a process killed at its very start."""
        try:
            names = [entry.name for entry in folder.iterdir()]
        except FileNotFoundError:  # cleared meanwhile
            return True
        except NotADirectoryError:
            return False
        partial = any(name.startswith(cls._partial()) for name in names)
        # An experiment's file without a database next to it is somebody's own.
        left = (LOCK, cls._partial(), *([EXPERIMENT] if partial else []))
        return all(name.startswith(left) for name in names)

    @classmethod
    def _partial(cls) -> str:
        return f"{cls.file}.partial"

    @classmethod
    def _fill(cls, folder: Path, meta: Mapping[str, object], experiment: bytes | None) -> None:
        """Write the database; it has its name only once all that belongs to it is there."""
        partial = folder / cls._partial()
        partial.unlink(missing_ok=True)
        db = sqlite3.connect(private_file(partial))
        db.executescript(_META + cls.schema)
        rows = [
            (key, canonical_json(value)) for key, value in {"format": cls.format, **meta}.items()
        ]
        db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        db.commit()
        db.close()
        if experiment is not None:
            private_file(folder / EXPERIMENT).write_bytes(experiment)
        partial.rename(folder / cls.file)

    @classmethod
    def open(cls, folder: Path, *, write: bool = False, shared: bool = False) -> Self:
        """Open one that exists; a second writer is refused.

        With `shared` several threads may read, one at a time.
        """
        if not cls.exists(folder):
            raise cls.missing(folder)
        lock = cls._lock_existing(folder) if write else None
        if write:
            close_to_others(folder)
        try:
            store = cls(folder, connect(folder / cls.file, write=write, shared=shared), lock)
            found = store.meta("format")
            if write and found == cls.format:
                store._upgrade()
        except sqlite3.DatabaseError as error:
            if lock is not None:
                lock.close()
            if is_damage(error) or "no such table" in str(error):
                raise cls.damaged(folder, error) from None
            raise InputError(f"the store cannot be read: {error}", where=str(folder)) from None
        if found != cls.format:
            Database.close(store)  # what this version would write at the end does not belong there
            raise InputError(
                f"the {cls.kind} was written in format {found}, this version reads {cls.format}",
                where=str(folder),
                hint="use the version of genesys-engine that made it (see `meta` in"
                f" {cls.file}), or start again in a new folder",
            )
        return store

    @classmethod
    def _lock_existing(cls, folder: Path) -> Any:
        """Take the lock of a folder that holds one; it may have been discarded just now."""
        try:
            lock = exclusive(folder)
        except FileNotFoundError:
            raise cls.missing(folder) from None
        if not cls.exists(folder):
            lock.close()
            raise cls.missing(folder)
        return lock

    @classmethod
    def missing(cls, folder: Path) -> InputError:
        """Return the error of a folder that holds none."""
        return InputError(f"no {cls.kind} here", where=str(folder), hint=cls.how_to_get_one)

    @classmethod
    def damaged(cls, folder: Path, error: object) -> InputError:
        """Return the error of a database that is damaged."""
        return InputError(
            f"the store is damaged: {error}",
            where=str(folder / cls.file),
            hint="restore the folder from a copy, or start again in a new one",
        )

    def _upgrade(self) -> None:
        """Add to what an earlier version wrote, in the same format, what it lacks."""

    def being_written(self) -> bool:
        """Tell whether a process works on this folder now; one that was killed does not."""
        return self._lock is not None or is_held(self.folder)

    def close(self) -> None:
        """Close the files; safe to call twice."""
        if self._lock is not None:
            # Leaves one plain file, which a reader can open without writing next to it.
            with suppress(sqlite3.Error):  # closed already, or somebody is reading
                self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if is_damage(error):
            raise self.damaged(self.folder, error) from error

    # --- writing and reading -----------------------------------------------------------------

    @contextmanager
    def transaction(self, *, sync: bool = False) -> Iterator[None]:
        """Make everything written inside permanent together, or not at all.

        Without `sync` it survives the end of this process but not a power cut, which is enough
        for decisions: they are repeated as they were.  With `sync` the disk has it on return.
        """
        if sync is not self._syncing:  # the statement costs more than a small transaction
            self._db.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
            self._syncing = sync
        try:
            yield
            self._db.commit()
        except BaseException:
            self._db.rollback()
            raise

    def set_meta(self, key: str, value: Any) -> None:
        """Set one fact of the folder, within a transaction."""
        self._db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, canonical_json(value)),
        )

    def drop_meta(self, key: str) -> None:
        """Forget one fact of the folder, within a transaction."""
        self._db.execute("DELETE FROM meta WHERE key = ?", (key,))

    def meta(self, key: str, default: Any = None) -> Any:
        """Return one fact of the folder (`experiment`, `format`, `versions` ...)."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else read_json(row["value"])


def _clear(folder: Path, lock: Any, *, whole: bool) -> None:
    """Empty a folder whose lock is held, remove it where it is to go `whole`, and let go of it.

    The lock goes last: whoever makes another one from then on finds nothing of this one.
    """
    with suppress(OSError):  # what cannot go stays
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != LOCK:
                entry.unlink()
        (folder / LOCK).unlink()
        if whole:
            folder.rmdir()  # fails where another process has begun there
    lock.close()


def is_damage(error: BaseException | None) -> bool:
    """Tell whether an error of SQLite says that the file is no sound database."""
    return type(error) is sqlite3.DatabaseError


def connect(file: Path, *, write: bool = True, shared: bool = False) -> sqlite3.Connection:
    """Open an SQLite file that exists."""
    uri = f"{file.resolve().as_uri()}?mode={'rw' if write else 'ro'}"
    db = sqlite3.connect(uri, uri=True, timeout=30.0, check_same_thread=not shared)
    if write:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return db
