"""Adam for large tables: a step costs what the rows cost that it reads, and the weights are Adam's up to rounding.

:class:`AdamOfTouchedRows` is ``torch.optim.AdamW`` whose tables (:mod:`ml.models.row_table`) are updated some rows at a
time. A row is brought up to date when a step reads it, by :mod:`ml.training.unread_steps`, and takes part in that step
as in any other. Before all rows are needed, at the end of an epoch, those that were not read since are brought up to
date, too. No gradient of the size of a table is made.

Not to be mistaken for the sparse or lazy forms of Adam, which leave a row alone in the steps that do not read it, and
lead to other weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from ml.models.row_table import RowTable
from ml.training.moving_average import WeightAverage
from ml.training.recipe import OptimiserSettings
from ml.training.unread_steps import MissedSteps, UnreadSteps

# rows that are brought up to date together at the end of an epoch: few enough for the caches of a processor
_ROWS_AT_ONCE = 4096


@dataclass
class _Table:
    """A table that is trained by its rows.

    Attributes:
        module: that reads it.
        name: of the table among the parameters of the model.
        reads: since the last step: different rows, int64 ``[read]``, and what was handed out for them.
    """

    module: RowTable
    name: str
    reads: list[tuple[Tensor, Tensor]] = field(default_factory=list)


class AdamOfTouchedRows(torch.optim.AdamW):
    """AdamW whose tables are updated by their rows, together with the moving average of these.

    Beside Adam's own state a table has ``last``, int32 ``[rows]``, the last step that each row is up to date with, and
    ``start``, the step that all rows were brought up to date with.

    Args:
        groups: parameters and their weight decay, tables among them.
        settings: step sizes; weight decay is decoupled.
        model: holds the tables.
        average: of the weights; rows of tables are averaged here, and no longer by itself.
    """

    def __init__(
        self, groups: list[dict[str, Any]], settings: OptimiserSettings, model: nn.Module, average: WeightAverage
    ) -> None:
        super().__init__(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
        self.settings = settings
        self.average = average
        self.tables = [_Table(module, name) for name, module in tables_of(model).items()]
        average.leave_out({table.name for table in self.tables})
        self.unread = UnreadSteps(settings.betas, self.defaults["eps"], settings.weight_decay)
        for table in self.tables:
            weight = table.module.weight
            self.state[weight] = {
                "step": torch.zeros((), dtype=torch.float32),
                "exp_avg": torch.zeros_like(weight, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(weight, requires_grad=False),
                "last": torch.zeros(len(weight), dtype=torch.int32, device=weight.device),
                "start": torch.zeros((), dtype=torch.float32),
            }

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within it, rows of the tables are read through this optimiser."""
        for table in self.tables:
            table.module.reader = partial(self._read, table)
        try:
            yield
        finally:
            for table in self.tables:
                table.module.reader = None

    def _read(self, table: _Table, rows: Tensor) -> tuple[Tensor, Tensor]:
        """A :data:`ml.models.row_table.RowReader`."""
        if not torch.is_grad_enabled():
            if self.unread.step > self.unread.start:
                self._bring_up_to_date(table, rows.unique())
            return table.module.weight, rows
        distinct, places = torch.unique(rows, return_inverse=True)
        self._bring_up_to_date(table, distinct)
        part = table.module.weight.detach().index_select(0, distinct).requires_grad_()
        table.reads.append((distinct, part))
        return part, places

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step with the gradients of what was read since the last one.

        Raises:
            RuntimeError: a table was read as a whole.
        """
        for table in self.tables:
            if table.module.weight.grad is not None:
                raise RuntimeError(
                    f'the loss reads all of {table.name}, and not by its rows alone: set rows = "all" in the table '
                    "optimiser of the recipe"
                )
        super().step()
        decay = self.average.decay_at(self.unread.step)
        for table in self.tables:
            self._step(table, decay)
        self.unread.advance(self.param_groups[0]["lr"], decay)

    def _step(self, table: _Table, average_decay: float) -> None:
        weight, state = table.module.weight.detach(), self.state[table.module.weight]
        rows, gradient = _together(table.reads)
        table.reads.clear()
        group = self._group_of(table.module.weight)
        step = state["step"]
        if rows is None:
            step += 1
            return
        values = weight.index_select(0, rows)
        mean, square = (state[name].index_select(0, rows) for name in ("exp_avg", "exp_avg_sq"))
        of_mean, of_square = group["betas"]
        adamw(
            [values],
            [gradient],
            [mean],
            [square],
            [],
            [step],
            fused=True,
            amsgrad=False,
            beta1=of_mean,
            beta2=of_square,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        weight.index_copy_(0, rows, values)
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        state["last"].index_fill_(0, rows, self.unread.step + 1)
        if self.average.decay:
            average = self.average.averages[table.name]
            average.index_copy_(0, rows, average.index_select(0, rows).lerp_(values, 1 - average_decay))

    def catch_up(self) -> None:
        """Bring all rows up to date, so that tables may be read, averaged and copied as a whole."""
        for table in self.tables:
            weight, state = table.module.weight.detach(), self.state[table.module.weight]
            average = self.average.averages.get(table.name)
            whole = [weight, state["exp_avg"], state["exp_avg_sq"], *([] if average is None else [average])]
            for parts in zip(*(each.split(_ROWS_AT_ONCE) for each in (state["last"], *whole)), strict=True):
                last = parts[0].cpu().numpy().astype(np.int64)
                if (last < self.unread.step).any():
                    _catch_up(self.unread.since(last), *parts[1:])
            state["last"].fill_(self.unread.step)
            state["start"].fill_(self.unread.step)
        self.unread.restart(self.unread.step)

    @torch.no_grad()
    def _bring_up_to_date(self, table: _Table, rows: Tensor) -> None:
        """Bring the given rows, all different, to the latest step."""
        state = self.state[table.module.weight]
        behind = state["last"].index_select(0, rows) < self.unread.step
        rows = rows[behind]
        if not len(rows):
            return
        average = self.average.averages.get(table.name)
        whole = [table.module.weight.detach(), state["exp_avg"], state["exp_avg_sq"]]
        whole += [] if average is None else [average]
        parts = [each.index_select(0, rows) for each in whole]
        last = state["last"].index_select(0, rows).cpu().numpy().astype(np.int64)
        _catch_up(self.unread.since(last), *parts)
        for each, part in zip(whole, parts, strict=True):
            each.index_copy_(0, rows, part)
        state["last"].index_fill_(0, rows, self.unread.step)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Also of an optimiser that updates all rows in each step."""
        super().load_state_dict(state_dict)
        start = now = 0
        for table in self.tables:
            state = self.state[table.module.weight]
            step = state["step"]
            state["start"] = state.get("start", step.clone())
            last = state.get("last", step.expand(len(table.module.weight)))
            # torch gives all state the type of the weights
            state["last"] = last.to(torch.int32).clone()
            start, now = int(state["start"]), int(step)
        # the same for all tables
        self.unread.restart(start)
        for passed in range(start, now):
            self.unread.advance(self.settings.learning_rate_of(passed), self.average.decay_at(passed))

    def _group_of(self, weight: nn.Parameter) -> dict[str, Any]:
        return next(group for group in self.param_groups if any(each is weight for each in group["params"]))


def tables_of(model: nn.Module) -> dict[str, RowTable]:
    """Modules with a trained table that can be read by its rows, by the name of the table."""
    return {
        f"{place}.weight" if place else "weight": module
        for place, module in model.named_modules()
        if isinstance(module, RowTable) and module.weight.requires_grad
    }


@contextmanager
def reading_rows(optimiser: torch.optim.Optimizer) -> Iterator[None]:
    """Within it, tables are read by their rows where the optimiser updates them so."""
    if not isinstance(optimiser, AdamOfTouchedRows):
        yield
        return
    with optimiser.reading():
        yield


def can_take_over(optimiser: torch.optim.Optimizer, state: Iterable[str]) -> bool:
    """Whether an optimiser can go on from state with these names: not from rows that are not up to date, if it updates
    all rows in each step."""
    return isinstance(optimiser, AdamOfTouchedRows) or not any(name.endswith("/last") for name in state)


def catch_up(optimiser: torch.optim.Optimizer) -> None:
    """Bring all weights and their average up to date; most optimisers leave nothing behind."""
    if isinstance(optimiser, AdamOfTouchedRows):
        optimiser.catch_up()


def _together(reads: list[tuple[Tensor, Tensor]]) -> tuple[Tensor | None, Tensor]:
    """All rows that were read, each once, and the sum of their gradients; ``None`` where nothing has a gradient."""
    known = [(rows, part.grad) for rows, part in reads if part.grad is not None]
    if not known:
        return None, torch.empty(0)
    if len(known) == 1:
        return known[0][0], known[0][1]
    rows, places = torch.unique(torch.cat([rows for rows, _ in known]), return_inverse=True)
    gradients = torch.cat([gradient for _, gradient in known])
    return rows, gradients.new_zeros(len(rows), gradients.shape[1]).index_add_(0, places, gradients)


def _catch_up(missed: MissedSteps, weight: Tensor, mean: Tensor, square: Tensor, average: Tensor | None = None) -> None:
    """Apply the steps that rows have missed, in place, ``[rows, dimensions]`` each."""
    numbers = {
        each.name: torch.from_numpy(getattr(missed, each.name)).to(weight.device, weight.dtype)[..., None]
        for each in fields(missed)
    }
    root = square.sqrt()
    movement = _movement(root, square, numbers["movement"]).mul_(mean)
    if average is not None:
        # so the average of a row that has never moved stays what it is to the last bit
        average.lerp_(weight, numbers["drawn"]).mul_(numbers["average"])
        late = _movement(root, square, numbers["average_movement"]).mul_(mean).mul_(numbers["average_moved"])
        average.sub_(late.addcmul_(movement, numbers["average_moved_late"]))
    weight.mul_(numbers["weight"]).sub_(movement.mul_(numbers["moved"]))
    mean.mul_(numbers["mean"])
    square.mul_(numbers["square"])


def _movement(root: Tensor, square: Tensor, numbers: Tensor) -> Tensor:
    """``R`` of :mod:`ml.training.unread_steps`."""
    above = torch.addcmul(numbers[1], root, numbers[0])
    return above.div_(torch.addcmul(numbers[3], root, numbers[2]).add_(square))
