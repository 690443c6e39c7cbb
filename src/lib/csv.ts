/** One line of a table, and where in the file it begins. */
export interface CsvRow {
  /** From 1. */
  readonly line: number
  readonly cells: readonly string[]
}

/** Says at which line of the file it cannot be read. */
export class NotCsv extends Error {
  override readonly name = 'NotCsv'
}

/**
 * Reads comma-separated text as RFC 4180 has it: a quoted cell may hold commas, line ends and doubled quotes. Also takes a byte
 * order mark, and LF or CR alone for a line end, because programs write those. Empty lines are none. Throws `NotCsv` for a
 * quote that is out of place or never closed.
 */
export function readCsv(text: string): CsvRow[] {
  const rows: CsvRow[] = []
  let line = 1
  let at = text.startsWith('\ufeff') ? 1 : 0
  while (at < text.length) {
    const row = readRow(text, at, line)
    if (row.cells.length > 1 || row.cells[0] !== '') rows.push({ line, cells: row.cells })
    line += row.lines
    at = row.end
  }
  return rows
}

interface Cell {
  readonly text: string
  /** Where the comma or the line end after it stands. */
  readonly end: number
}

function readRow(text: string, start: number, line: number): { cells: string[]; end: number; lines: number } {
  const cells: string[] = []
  for (let at = start; ; ) {
    const cell = text[at] === '"' ? quotedCell(text, at, line) : plainCell(text, at, line)
    cells.push(cell.text)
    if (text[cell.end] !== ',') {
      const end = text.startsWith('\r\n', cell.end) ? cell.end + 2 : cell.end + 1
      return { cells, end, lines: text.slice(start, end).match(lineEnds)?.length ?? 0 }
    }
    at = cell.end + 1
  }
}

const lineEnds = /\r\n|\n|\r/g
const cellEnds = /[,\r\n]|$/g

function plainCell(text: string, start: number, line: number): Cell {
  cellEnds.lastIndex = start
  const end = cellEnds.exec(text)!.index
  const cell = text.slice(start, end)
  if (cell.includes('"')) throw new NotCsv(`line ${line}: a cell with a quote in it must stand in quotes, and the quote twice`)
  return { text: cell, end }
}

function quotedCell(text: string, start: number, line: number): Cell {
  let end = text.indexOf('"', start + 1)
  while (end !== -1 && text[end + 1] === '"') end = text.indexOf('"', end + 2)
  if (end === -1) throw new NotCsv(`line ${line}: a quote is opened and never closed`)
  const after = text[end + 1] ?? '\n'
  if (!',\r\n'.includes(after)) throw new NotCsv(`line ${line}: after a closing quote there must be a comma or the end of the line`)
  return { text: text.slice(start + 1, end).replaceAll('""', '"'), end: end + 1 }
}
