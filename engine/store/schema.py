"""The tables of a run's database, and what its files are called."""

FORMAT = 1
DATABASE = "run.sqlite"

SCHEMA = """
CREATE TABLE tasks (
  seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, payload TEXT NOT NULL, result TEXT, facts TEXT,
  applied INTEGER NOT NULL DEFAULT 0, issued_at REAL NOT NULL, finished_at REAL) STRICT;
CREATE TABLE units (digest TEXT PRIMARY KEY, source TEXT NOT NULL) STRICT;
CREATE TABLE designs (
  id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, accepted INTEGER NOT NULL, digest TEXT NOT NULL,
  fingerprint TEXT, parents TEXT NOT NULL, operator TEXT NOT NULL, change TEXT NOT NULL,
  parameters REAL, flops REAL, rung INTEGER, fitness REAL, tree TEXT NOT NULL,
  report TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX designs_digest ON designs (digest);
CREATE INDEX designs_standing ON designs (accepted, rung, fitness);
CREATE TABLE verifications (
  id INTEGER PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, design INTEGER NOT NULL,
  rung INTEGER NOT NULL, replicate INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
  fitness REAL, scores TEXT NOT NULL, controls TEXT NOT NULL, tokens INTEGER NOT NULL,
  facts TEXT NOT NULL) STRICT;
CREATE INDEX verifications_design ON verifications (design, rung);
CREATE TABLE events (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, payload TEXT NOT NULL, decisive INTEGER NOT NULL,
  at REAL NOT NULL) STRICT;
"""

CONFIRMATIONS = """
CREATE TABLE IF NOT EXISTS confirmations (
  seq INTEGER PRIMARY KEY, design INTEGER NOT NULL, rung INTEGER NOT NULL,
  problem TEXT NOT NULL, found TEXT NOT NULL) STRICT;
"""  # apart: runs that an earlier version began have none

PLACES = """
CREATE TABLE IF NOT EXISTS places (design INTEGER PRIMARY KEY, interface TEXT NOT NULL) STRICT;
"""  # likewise
