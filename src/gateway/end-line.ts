import { extname } from 'node:path'
import type { NewOwner } from '../directory/owners.ts'
import { type Paid, paidFields, paidIn } from '../ledger/paid.ts'
import { fromPlainText } from '../ledger/plain.ts'
import type { Ended, Ends } from '../ledger/posting.ts'
import { workedOut } from '../storage/database.ts'
import { attemptFields, attemptInFields, type Field, rowFields, rowInFields } from '../usage/row-fields.ts'
import type { CallEnd } from './books.ts'

/**
 * How a call that ends at hand stands in the daybook: its version, the money, the row, and what is not on every row. By place and not by name,
 * because names took two thirds of it, and each call has its line made, checked, written and read once.
 */
const version = 1

type Line = readonly [
  version: number,
  paid: readonly unknown[],
  row: readonly Field[],
  attempts: readonly (readonly Field[])[],
  owners: readonly NewOwner[],
]

/** What the books are told of ends at hand is worked out where they are written: here that is a matter of handing over text. */
export const endsAtHand: Omit<Ends<CallEnd>, 'refused'> = {
  lineOf,
  endIn: endInLine,
  stepsOf: lines => [{ statement: inBooks, values: [lines.join('\n')] }],
}

const inBooks = workedOut(new URL(`./ends-in-books${extname(import.meta.url)}`, import.meta.url))

function lineOf({ slip, settle, end }: Pick<Ended<CallEnd>, 'slip' | 'settle' | 'end'>): string {
  const { row, attempts, owners = [] } = end
  const line: Line = [version, paidFields(slip, settle), rowFields(row!), attempts.map(attemptFields), owners]
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
  const line = JSON.parse(text) as Line
  if (line[0] !== version)
    throw new Error(`a line of the daybook is of version ${line[0]}, which this Headgate cannot read; a newer one wrote it`)
  return { paid: paidIn(line[1]), row: line[2], attempts: line[3], owners: line[4] }
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
