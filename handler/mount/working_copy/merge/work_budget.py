"""A bound on work whose amount a repository decides. Pure."""


class BudgetExceeded(Exception):
    """The budget is used up. Whoever made the budget catches this: nobody else is told."""


class WorkBudget:
    """A number of steps that may still be done."""

    def __init__(self, granted: int) -> None:
        """Allow so many steps."""
        self._left = granted

    def consume(self, steps: int) -> None:
        """Count some steps. Raises BudgetExceeded if fewer are left."""
        self._left -= steps
        if self._left < 0:
            raise BudgetExceeded
