"""What the author of a plugin tests with.

* A *contract* per kind: inherit it, say the component's name, and its promises are tests of
  yours: `class TestMine(OperatorContract): name = "mine"`.
* `fixtures` is a plugin of pytest: a scripted language model, a tiny corpus, a small model and
  trainer, the engine's check of a block, a finished run.
  Switch it on in conftest.py: `pytest_plugins = ["genesys_engine.plugins.testing.fixtures"]`.
* `recorded.RecordedExecutor` answers checks and verifications from a hash of the block instead
  of training it: it studies the engine's loop, never a design.
"""

from genesys_engine.plugins.testing.checkers import CheckerContract
from genesys_engine.plugins.testing.evaluators import BlockEvaluatorContract, EvaluatorContract
from genesys_engine.plugins.testing.executors import ExecutorContract
from genesys_engine.plugins.testing.operators import OperatorContract
from genesys_engine.plugins.testing.sections import ReportSectionContract
from genesys_engine.plugins.testing.selectors import SelectorContract
from genesys_engine.plugins.testing.services import KnowledgeSourceContract, LLMBackendContract
from genesys_engine.plugins.testing.trackers import TrackerContract
from genesys_engine.plugins.testing.trainers import TrainerContract

__all__ = [
    "BlockEvaluatorContract",
    "CheckerContract",
    "EvaluatorContract",
    "ExecutorContract",
    "KnowledgeSourceContract",
    "LLMBackendContract",
    "OperatorContract",
    "ReportSectionContract",
    "SelectorContract",
    "TrackerContract",
    "TrainerContract",
]
