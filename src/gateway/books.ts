import { ownerSteps } from '../directory/owners.ts'
import type { Owed } from '../ledger/owed.ts'
import { type Funds, type HeldCall, type HoldRequest, lateSettleSteps, readSettled, releaseSteps, settleSteps } from '../ledger/steps.ts'
import type { Clock, Timer } from '../lib/clock.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import type { Committed, Database, Step } from '../storage/database.ts'
import { DatabaseAway } from '../storage/database.ts'
import { type AttemptRow, type CallRow, callSteps } from '../usage/record.ts'

/** Everything that ends a call in the books, as plain values: it may have to wait in the journal. */
export interface CallEnd {
  readonly callId: string
  readonly funds: Funds
  readonly call: HeldCall
  /** Without a charge the hold is released. */
  readonly charge?: { readonly cost: bigint; readonly entryId: string; readonly atMs: number }
  /** Without a row, somebody else writes it. */
  readonly row?: CallRow
  readonly attempts: readonly AttemptRow[]
  readonly owners?: readonly Parameters<typeof ownerSteps>[0][]
}

/** Where calls end: the books when they answer in time, else the journal, else memory. Ending never fails and never waits long. */
export interface Books {
  /** Resolves when the end is durable, or when nothing durable would take it. */
  end(end: CallEnd): Promise<void>
  /** Gives back what may be held for a call to which nothing was served. Returns at once. */
  release(request: HoldRequest): void
  /** Ends kept in memory only, because the journal refused too. */
  readonly unwritten: number
  /** Ends in the journal. */
  readonly owed: number
  /** Takes what is owed to the books; resolves when they took it or are away again. */
  catchUp(): Promise<void>
  close(): Promise<void>
}

export interface BooksParts {
  readonly database: Pick<Database, 'commit'>
  readonly journal: Owed<CallEnd>
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** How long the books may take to answer before the journal is asked. Milliseconds. */
  readonly settleWithinMs: number
}

const catchUpEveryMs = 1000

export function openBooks(parts: BooksParts): Books {
  const { database, journal, clock, log, metrics } = parts
  const unwritten = new Set<CallEnd>()
  const pending = new Set<Promise<unknown>>()
  let catching: Timer | undefined
  let closed = false

  function track<Result>(work: Promise<Result>): Promise<Result> {
    pending.add(work)
    void work.finally(() => pending.delete(work)).catch(() => {})
    return work
  }

  /** The books did not answer in time, or not at all: whatever they did, the journal repeats it harmlessly. */
  async function owe(end: CallEnd, cause: unknown): Promise<void> {
    try {
      await journal.add(end)
      log.warn({ call: end.callId, err: cause }, 'the books did not answer; the end of the call is in the journal')
    } catch (error) {
      unwritten.add(end)
      log.error(
        { call: end.callId, end: plain(end), err: error },
        'neither books nor journal took the end of the call; it is kept in memory',
      )
    }
    catchUpLater()
  }

  async function end(ending: CallEnd): Promise<void> {
    const committing = track(commitEnd(database, ending, 'in time'))
    const answered = await within(committing, parts)
    if (answered === 'late') {
      await owe(ending, new DatabaseAway(`no answer in ${parts.settleWithinMs} ms`))
    } else if ('failed' in answered) {
      await owe(ending, answered.failed)
    } else {
      noteUncollected(answered.committed, ending, metrics)
    }
  }

  function catchUpLater(): void {
    if (closed || catching !== undefined) return
    catching = clock.after(catchUpEveryMs, () => {
      catching = undefined
      void catchUp()
    })
  }

  async function catchUp(): Promise<void> {
    try {
      for (const ending of unwritten) {
        await journal.add(ending)
        unwritten.delete(ending)
      }
    } catch {
      // The journal still refuses; the books may take them.
    }
    try {
      for (const ending of unwritten) {
        await commitEnd(database, ending, 'late')
        unwritten.delete(ending)
      }
      await journal.replay(async ending => noteUncollected(await commitEnd(database, ending, 'late'), ending, metrics))
    } catch (error) {
      log.warn({ owed: journal.size, err: error }, 'the books are still away')
    }
    if (journal.size + unwritten.size > 0) catchUpLater()
  }

  return {
    end,
    release: request => void track(end({ callId: request.callId, funds: request.funds, call: request, attempts: [] })),
    catchUp,
    get unwritten() {
      return unwritten.size
    },
    get owed() {
      return journal.size
    },
    async close() {
      await Promise.allSettled([...pending])
      await catchUp()
      closed = true
      catching?.[Symbol.dispose]()
      await journal.close()
    },
  }
}

/** One transaction: the hold's end, the call's row with its attempts, and the owners of what was made upstream. */
async function commitEnd(database: Pick<Database, 'commit'>, end: CallEnd, when: 'in time' | 'late'): Promise<Committed> {
  const { callId, funds, charge, row, attempts, owners = [] } = end
  const rows = [...(row === undefined ? [] : callSteps(row, attempts)), ...owners.flatMap(owner => ownerSteps(owner))]
  return database.commit(
    [...endSteps(callId, funds, charge && { ...charge, callId, funds }, when === 'late' ? end.call : undefined), ...rows],
    charge ? 'synced' : 'ordered',
  )
}

function endSteps(
  callId: string,
  funds: Funds,
  settle: Parameters<typeof settleSteps>[0] | undefined,
  late: HeldCall | undefined,
): readonly Step[] {
  if (settle === undefined) return releaseSteps(callId, funds)
  return late === undefined ? settleSteps(settle) : lateSettleSteps(settle, late)
}

function noteUncollected(committed: Committed, { charge }: CallEnd, metrics: Metrics): void {
  const settled = readSettled(committed)
  if (settled === undefined || charge === undefined) return
  const uncollected = charge.cost - settled.charged
  if (uncollected > 0n) metrics.uncollectedUsd.inc(Number(uncollected) / 1e9)
}

async function within<Result>(
  work: Promise<Result>,
  { clock, settleWithinMs }: BooksParts,
): Promise<{ readonly committed: Result } | { readonly failed: unknown } | 'late'> {
  return new Promise(resolve => {
    const timer = clock.after(settleWithinMs, () => resolve('late'))
    work.then(
      committed => {
        timer[Symbol.dispose]()
        resolve({ committed })
      },
      failed => {
        timer[Symbol.dispose]()
        resolve({ failed })
      },
    )
  })
}

/** For the log: amounts as text. */
function plain(end: CallEnd): unknown {
  return JSON.parse(JSON.stringify(end, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)))
}
