import { ownerSteps } from '../directory/owners.ts'
import type { Paid } from '../ledger/paid.ts'
import { wholeSettlesSteps } from '../ledger/short-way.ts'
import { inOrderOfStatement, type Step, type WorkedOut } from '../storage/database.ts'
import { DaysWritten } from '../usage/account-days.ts'
import { paidValuesSteps } from '../usage/record.ts'
import { accountIn, valuesIn } from '../usage/row-fields.ts'
import { partsIn } from './end-line.ts'

/** This thread's: of a thousand accounts nearly each call would be on another one's day. */
const daysWritten = new DaysWritten()

/** All that is committed for calls that ended at hand, a line each. Runs in the thread of the books. */
export function stepsIn(text: string): WorkedOut {
  const paid: Paid[] = []
  const days: Parameters<DaysWritten['workedOut']>[0][number][] = []
  const steps: Step[] = []
  for (const line of text.split('\n')) {
    const { paid: one, row, attempts, owners } = partsIn(line)
    paid.push(one)
    steps.push(...paidValuesSteps(valuesIn(row), attempts))
    for (const owner of owners) steps.push(...ownerSteps(owner))
    days.push({ id: one.callId, accountId: accountIn(row), beganAtMs: one.beganAtMs })
  }
  const ofDays = daysWritten.workedOut(days)
  return { steps: inOrderOfStatement([...wholeSettlesSteps(paid), ...steps, ...ofDays.steps]), committed: ofDays.committed }
}
