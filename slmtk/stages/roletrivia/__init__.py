"""The benchmark of spoken role-playing question answering, and how its questions are made: questions -> scores."""

from slmtk.stages.roletrivia.columns import Columns
from slmtk.stages.roletrivia.config import RoleTriviaConfig, RoleTriviaReport
from slmtk.stages.roletrivia.folder import ANSWERS_NAME, RUN_NAME, SCORES_NAME
from slmtk.stages.roletrivia.questions import Question, Source, read_trivia
from slmtk.stages.roletrivia.run import plan, roletrivia

__all__ = [
    "ANSWERS_NAME",
    "RUN_NAME",
    "SCORES_NAME",
    "Columns",
    "Question",
    "RoleTriviaConfig",
    "RoleTriviaReport",
    "Source",
    "plan",
    "read_trivia",
    "roletrivia",
]
