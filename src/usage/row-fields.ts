import type { Row, Value } from '../storage/database.ts'
import { exact } from '../storage/exact.ts'
import { type AttemptRow, attemptColumns, type CallRow, callColumns, valuesOf, valuesOfAttempt } from './record.ts'
import { attemptIn, rowIn } from './rows.ts'

/** What JSON can say as it is. */
export type Field = string | number | null

const accountAt = callColumns.indexOf('account_id')
const amountsAt = [callColumns.indexOf('held'), callColumns.indexOf('cost')]

/** A call's row by place, for a line of JSON: its values, amounts as decimal text, and then why some of the cost could not be taken. */
export function rowFields(row: CallRow): readonly Field[] {
  const fields = valuesOf(row)
  for (const at of amountsAt) fields[at] = String(fields[at])
  fields.push(row.uncollectedWhy)
  return fields as Field[]
}

/** The values that `rowFields` was made of. */
export function valuesIn(fields: readonly Field[]): readonly Value[] {
  const values: Value[] = fields.slice(0, callColumns.length)
  for (const at of amountsAt) values[at] = BigInt(fields[at]!)
  return values
}

export function accountIn(fields: readonly Field[]): string | null {
  return fields[accountAt] as string | null
}

/** What `rowFields` was given, durations in whole milliseconds. */
export function rowInFields(fields: readonly Field[]): CallRow {
  return rowIn(rowOf([...callColumns, 'uncollected_why'], [...valuesIn(fields), fields[callColumns.length]!]))
}

/** One attempt, of which there is no amount to tell. */
export function attemptFields(attempt: AttemptRow): Field[] {
  return valuesOfAttempt(attempt) as Field[]
}

export function attemptInFields(fields: readonly Field[]): AttemptRow {
  return attemptIn(rowOf(attemptColumns, fields))
}

/** As the books would give it. */
function rowOf(columns: readonly string[], values: readonly Value[]): Row {
  return Object.fromEntries(columns.map((column, at) => [column, exact(values[at]!)]))
}
