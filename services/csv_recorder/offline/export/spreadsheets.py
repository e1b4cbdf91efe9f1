"""Writes tables for spreadsheet programs, which run a text as a formula if it begins like one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from neuroone.contract import spreadsheets

SHEET_ROWS_MAX: Final = 1_048_576
"""The limit of the xlsx format, with the header."""


def guarded(frame: pd.DataFrame, guard: Callable[[str], str] = spreadsheets.guarded) -> pd.DataFrame:
    """Put an apostrophe before every text that begins like a formula, or that another ``guard`` wants one for."""

    def of_cell(cell: object) -> object:
        return guard(cell) if isinstance(cell, str) else cell

    return frame.assign(**{str(name): column.map(of_cell) for name, column in frame.items() if is_text(column)})


def write_workbook(path: Path, sheets: Mapping[str, pd.DataFrame]) -> None:
    """Write an xlsx file, times in UTC, formulas guarded; a table too long for a sheet continues in another."""
    from openpyxl import Workbook

    workbook = Workbook(write_only=True)
    for title, frame in sheets.items():
        rows_max = SHEET_ROWS_MAX - 1
        for number, start in enumerate(range(0, max(1, len(frame)), rows_max), 1):
            sheet = workbook.create_sheet(title if number == 1 else f"{title} {number}")
            sheet.freeze_panes = "A2"
            sheet.append(list(frame.columns))
            for row in _cells(frame.iloc[start : start + rows_max]):
                sheet.append(row)
    workbook.save(path)


def _cells(frame: pd.DataFrame) -> Any:
    columns = {}
    for name, column in guarded(frame).items():
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            column = column.dt.tz_convert("UTC").dt.tz_localize(None)
        columns[name] = column.astype(object).where(column.notna(), None)
    return pd.DataFrame(columns, dtype=object).itertuples(index=False, name=None)


def is_text(column: "pd.Series[Any]") -> bool:
    """Return True if a column may hold text."""
    return pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype)
