"""A bound on work whose amount a repository decides. Pure."""


class BudgetExceeded(Exception):
    """More was needed than was granted. Whoever grants it catches this: it is no failure that anybody is told."""


class WorkBudget:
    """Counts down what is spent."""

    def __init__(self, granted: int) -> None:
        """Grant so many steps."""
        self._left = granted

    def consume(self, steps: int) -> None:
        """Take some. Raises BudgetExceeded where they are not left."""
        self._left -= steps
        if self._left < 0:
            raise BudgetExceeded
