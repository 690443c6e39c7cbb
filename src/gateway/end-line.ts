import assert from 'node:assert/strict'
import { extname } from 'node:path'
import type { NewOwner } from '../directory/owners.ts'
import { type Paid, paidFields, paidIn } from '../ledger/paid.ts'
import { fromPlainText } from '../ledger/plain.ts'
import type { Ended, Ends } from '../ledger/posting.ts'
import { workedOut } from '../storage/database.ts'
import { callColumns } from '../usage/record.ts'
import { attemptFields, attemptInFields, type Field, rowFields, rowInFields } from '../usage/row-fields.ts'
import type { CallEnd } from './books.ts'

/**
 * How a call that ends at hand stands in the daybook: its version, the money, the row, and what is not on every row. By place and not by name,
 * and what the row says is not said again, because that was most of it, and each call has its line made, checked, written and read once.
 */
const version = 2
/** In which everything was said. */
const versionBefore = 1

type Line = readonly [version: number, paid: unknown[], row: readonly Field[], attempts: readonly Field[][], owners: readonly NewOwner[]]

/** What the books are told of ends at hand is worked out where they are written: here that is a matter of handing over text. */
export const endsAtHand: Omit<Ends<CallEnd>, 'refused'> = {
  lineOf,
  endIn: endInLine,
  stepsOf: lines => [{ statement: inBooks, values: [lines.join('\n')] }],
}

const inBooks = workedOut(new URL(`./ends-in-books${extname(import.meta.url)}`, import.meta.url))

function lineOf({ slip, settle, end }: Pick<Ended<CallEnd>, 'slip' | 'settle' | 'end'>): string {
  const { attempts, owners = [] } = end
  const row = rowFields(end.row!)
  const paid = sayLess(paidFields(slip, settle), row, rowPlacesOfPaid)
  const tried = attempts.map(attempt => sayLess(attemptFields(attempt), row, rowPlacesOfAttempt))
  const line: Line = [version, paid, row, tried, owners]
  return JSON.stringify(line)
}

export interface Parts {
  readonly paid: Paid
  readonly row: Line[2]
  readonly attempts: Line[3]
  readonly owners: Line[4]
}

/** A line in its parts, of which each has its own reader. Throws a sentence for a version that is not known. */
export function partsIn(text: string): Parts {
  const [lineVersion, paid, row, attempts, owners] = JSON.parse(text) as Line
  if (lineVersion !== version && lineVersion !== versionBefore)
    throw new Error(`a line of the daybook is of version ${lineVersion}, which this Headgate cannot read; a newer one wrote it`)
  for (const attempt of attempts) sayAll(attempt, row, rowPlacesOfAttempt)
  return { paid: paidIn(sayAll(paid, row, rowPlacesOfPaid)), row, attempts, owners }
}

/** In place of what stands in the row as well: a number where there are none. */
const asInRow = 0

/**
 * Of each text: where it stands, then where the row may say it too. Flat, because each call goes through them twice. They are part of the version,
 * as the order of all fields is.
 */
type RowPlaces = readonly number[]

const rowPlacesOfPaid = rowPlaces({ 0: 'id', 2: 'held', 3: 'cost', 7: 'user_id', 8: 'key_id', 9: 'group_id', 11: 'path', 12: 'address' })
const rowPlacesOfAttempt = rowPlaces({ 0: 'id', 2: 'account_id', 9: 'upstream_request_id' })

function rowPlaces(columns: Readonly<Record<number, string>>): RowPlaces {
  return Object.entries(columns).flatMap(([at, column]) => {
    assert(callColumns.includes(column), `a row has no ${column}`)
    return [Number(at), callColumns.indexOf(column)]
  })
}

function sayLess<V>(fields: (V | Field)[], row: readonly Field[], places: RowPlaces): (V | Field)[] {
  for (let next = 0; next < places.length; next += 2) {
    const at = places[next]!
    if (fields[at] === row[places[next + 1]!]) fields[at] = asInRow
  }
  return fields
}

function sayAll<V>(fields: (V | Field)[], row: readonly Field[], places: RowPlaces): (V | Field)[] {
  for (let next = 0; next < places.length; next += 2) {
    const at = places[next]!
    if (fields[at] === asInRow) fields[at] = row[places[next + 1]!]!
  }
  return fields
}

/** What whoever ended the call knew of it. Lines of the first daybooks were the end itself, by name. */
export function endInLine(text: string): CallEnd {
  if (text.startsWith('{')) return fromPlainText(text) as CallEnd
  const { paid, row, attempts, owners } = partsIn(text)
  const { callId, walletId, cost, entryId, atMs, leaseId, userId, keyId, groupId, model, path, address, stream, beganAtMs } = paid
  return {
    callId,
    funds: { kind: 'wallet', walletId },
    call: { leaseId, userId, keyId, groupId, model, path, address, stream, beganAtMs },
    charge: { cost, entryId, atMs },
    row: rowInFields(row),
    attempts: attempts.map(attemptInFields),
    owners,
  }
}
