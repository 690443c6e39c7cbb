import type { Row, Value } from './database.ts'
import { exact } from './exact.ts'
import { withoutNul } from './postgres-messages.ts'

/** What goes to PostgreSQL and comes back from it: as text, so that no number is ever rounded on the way. */

/** OIDs of pg_type.dat, which no release changes. */
const int8 = 20
const text = 25
const bytea = 17

/**
 * The types that a statement is prepared with. PostgreSQL would otherwise guess them from their surroundings, and take `$1` in `$1 > 0` for
 * an int4. A null is left to its guess; where it cannot, the statement says `cast($1 as …)`.
 */
export function typesOf(values: readonly Value[]): readonly number[] {
  return values.map(value => {
    if (value === null) return 0
    if (typeof value === 'string') return text
    return value instanceof Uint8Array ? bytea : int8
  })
}

/** As `pg` itself takes it. Throws what `exact` throws. */
export function bound(value: Value): string | Buffer | null {
  const whole = exact(value)
  if (whole === null) return null
  if (typeof whole === 'string') return withoutNul(whole)
  if (typeof whole === 'bigint') return whole.toString()
  return Buffer.from(whole.buffer, whole.byteOffset, whole.byteLength)
}

/** What `pg` says of a column. */
export interface Column {
  readonly name: string
  readonly dataTypeID: number
}

export function rowOf(columns: readonly Column[], fields: readonly (string | null)[]): Row {
  const row: Record<string, Row[string]> = {}
  for (const [index, { name, dataTypeID }] of columns.entries()) row[name] = readValue(dataTypeID, fields[index]!)
  return row
}

/** Sums of bigints are numeric, and whole. */
export function readValue(type: number, written: string | null): Row[string] {
  if (written === null) return null
  switch (type) {
    case bool:
      return written === 't' ? 1n : 0n
    case int2:
    case int4:
    case int8:
      return BigInt(written)
    case numeric:
      return written.includes('.') ? Number(written) : BigInt(written)
    case float4:
    case float8:
      return Number(written)
    case bytea:
      return new Uint8Array(Buffer.from(written.slice('\\x'.length), 'hex'))
    default:
      return written
  }
}

const bool = 16
const int2 = 21
const int4 = 23
const float4 = 700
const float8 = 701
const numeric = 1700
