import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Settings } from './config/settings.ts'
import type { Engine } from './engines.ts'
import { type Books, type BooksParts, type CallEnd, openBooks } from './gateway/books.ts'
import { endInLine, endsAtHand } from './gateway/end-line.ts'
import { type AtHand, openAtHand } from './ledger/at-hand.ts'
import { openDaybook, readDaybook } from './ledger/daybook.ts'
import { type Owed, openOwed } from './ledger/owed.ts'
import { openPurses, type Purses } from './ledger/purses.ts'
import type { Log } from './lib/log.ts'
import type { Database } from './storage/database.ts'

/** Others spend of the same wallets: what was seen to be free says for a moment that a call is worth a place in line, and its hold says for sure. */
const sharedPurseMs = 1_000

/** Where money is set aside and calls end. */
export interface EndsOfCalls {
  /** The books, for everybody. */
  readonly database: Database
  readonly atHand: AtHand<CallEnd> | undefined
  readonly purses: Purses
  readonly books: Books
}

export interface EndsParts extends Pick<BooksParts, 'clock' | 'log' | 'metrics'> {
  readonly database: Database
  /** Undefined where several gateways share the books, so that each hold and each end is asked of them. */
  readonly slips: Engine['slips']
  readonly wrapJournal?: ((journal: Owed<CallEnd>) => Owed<CallEnd>) | undefined
}

/** The journal in the data folder behind the books, and the daybook before them where nobody else has them. Closed with `scope`. */
export async function openEnds(settings: Settings, parts: EndsParts, scope: AsyncDisposableStack): Promise<EndsOfCalls> {
  const { database, slips, wrapJournal = same => same, ...shared } = parts
  const { clock, log } = shared
  const { data, settleWithinMs } = settings
  const journal = await openOwed<CallEnd>(join(data, 'owed.journal'), ({ trouble, ...what }) => {
    log.error(what, `the owed journal has a ${trouble} line; nothing was dropped`)
  })
  const file = join(data, 'calls.daybook')
  await takeUp(file, journal, log)
  const purses = openPurses(clock, slips === undefined ? sharedPurseMs : Number.POSITIVE_INFINITY)
  const refused = (end: CallEnd, cause: unknown) => books.owe(end, cause)
  const daybook = slips && openDaybook(file, clock, settleWithinMs)
  scope.defer(async () => daybook?.close())
  const atHandParts = { books: database, purses, clock, log, settleWithinMs, ends: { ...endsAtHand, refused } }
  const atHand = slips && daybook && openAtHand({ ...atHandParts, slips, daybook })
  scope.defer(async () => atHand?.close())
  const asked = atHand?.database ?? database
  const books = openBooks({ ...shared, database: asked, atHand, purses, journal: wrapJournal(journal), settleWithinMs })
  scope.defer(() => books.close())
  return { database: asked, atHand, purses, books }
}

/** What a process that died had written down, and the books may not have: it is owed like anything else that they could not take in time. */
async function takeUp(file: string, journal: Owed<CallEnd>, log: Log): Promise<void> {
  const { lines, damaged } = readDaybook(file)
  if (damaged > 0) log.error({ file: `${file}.damaged`, lines: damaged }, 'lines of the daybook are not what was written; the file is kept')
  if (lines.length === 0) return
  await Promise.all(lines.map(line => journal.add(endInLine(line))))
  rmSync(file)
}
