import type { Row } from '../storage/database.ts'

/** The cells of a row as the types that the schema promises. A cell of another type is a damaged or foreign database: they throw. */
export function text(row: Row, column: string): string {
  const cell = row[column]
  if (typeof cell !== 'string') throw unexpected(column, 'text', cell)
  return cell
}

export function textOrNull(row: Row, column: string): string | null {
  return row[column] === null ? null : text(row, column)
}

export function amount(row: Row, column: string): bigint {
  const cell = row[column]
  if (typeof cell !== 'bigint') throw unexpected(column, 'a whole number', cell)
  return cell
}

export function amountOrNull(row: Row, column: string): bigint | null {
  return row[column] === null ? null : amount(row, column)
}

/** For counts and times, which stay far below 2^53. */
export function whole(row: Row, column: string): number {
  return Number(amount(row, column))
}

export function wholeOrNull(row: Row, column: string): number | null {
  return row[column] === null ? null : whole(row, column)
}

export function flag(row: Row, column: string): boolean {
  return amount(row, column) !== 0n
}

/** JSON that this program wrote itself, so that its shape is trusted. */
export function json<Shape>(row: Row, column: string): Shape {
  return JSON.parse(text(row, column)) as Shape
}

/** A word of a closed list, such as how a group pays. */
export function word<const Words extends readonly string[]>(row: Row, column: string, words: Words): Words[number] {
  const cell = text(row, column)
  if (!words.includes(cell)) throw unexpected(column, words.join(' or '), cell)
  return cell
}

function unexpected(column: string, wanted: string, cell: Row[string] | undefined): Error {
  return new Error(`The books have ${cell === undefined ? 'nothing' : typeof cell} in the column ${column}, where ${wanted} was expected.`)
}
