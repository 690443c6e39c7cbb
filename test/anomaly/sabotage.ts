import { isOverRate, type Slot } from '../../src/coordination/coordinator.ts'
import type { inMemory } from '../../src/coordination/memory.ts'
import type { Adapters } from '../../src/headgate.ts'
import { type Clock, systemClock } from '../../src/lib/clock.ts'
import type { Soon } from '../../src/lib/soon.ts'
import { type Database, DatabaseAway } from '../../src/storage/database.ts'

/**
 * How a call to a port fails. `before`: it does nothing. `after`: it takes effect, and the reply is lost. A clock does not throw,
 * but a timer may run out at once (`early`), as it does after the machine was asleep, and the time of day may from then on be an
 * hour off (`ahead`, `behind`), because somebody set it.
 */
export type Moment = 'before' | 'after' | 'early' | 'ahead' | 'behind'

export interface Sabotage {
  readonly moment: Moment
  readonly adapters: Adapters
  /** From now on calls are counted, and the nth fails. */
  arm(n: number): void
  /** No more. Returns which call failed, undefined when there were not so many. */
  disarm(): string | undefined
  /** What failed so far. */
  readonly failed: string | undefined
  /** Gives back what nobody knows to be taken, as the end of a lease would. */
  endLeases(): Promise<void>
  /** The coordinator behind it all. */
  readonly coordinator: ReturnType<typeof inMemory>
}

/** One call fails, and no other. Until armed nothing does. */
export function newSabotage(moment: Moment): Sabotage {
  const counter = newCounter()
  const lost: Slot[] = []
  let coordinator: Sabotage['coordinator'] | undefined
  const isOfTime = moment === 'early' || moment === 'ahead' || moment === 'behind'
  const attempt = attemptsFailing(moment, counter)
  return {
    moment,
    adapters: {
      ...(isOfTime ? { clock: fragileClock(moment, counter) } : { wrapDatabase: database => fragileDatabase(database, attempt) }),
      wrapCoordinator(real) {
        coordinator = real
        return isOfTime ? real : fragileCoordinator(real, attempt, lost)
      },
    },
    arm: counter.arm,
    disarm: counter.disarm,
    get failed() {
      return counter.failed()
    },
    async endLeases() {
      for (const slot of lost.splice(0)) await slot[Symbol.asyncDispose]()
    },
    get coordinator() {
      return coordinator!
    },
  }
}

type Counter = ReturnType<typeof newCounter>

function newCounter() {
  let count = 0
  let wanted = 0
  let failed: string | undefined
  return {
    isNth(name: string): boolean {
      if (wanted === 0 || ++count !== wanted) return false
      failed = name
      return true
    },
    arm(n: number) {
      count = 0
      failed = undefined
      wanted = n
    },
    disarm() {
      wanted = 0
      return failed
    },
    failed: () => failed,
  }
}

/** Makes a call, unless it is to fail. `isLost` gets what nobody else will get. */
type Attempt = <Result>(name: string, work: () => Soon<Result>, isLost?: (result: Result) => void) => Promise<Result>

function attemptsFailing(moment: Moment, { isNth }: Counter): Attempt {
  return async (name, work, isLost) => {
    const isMine = isNth(name)
    if (isMine && moment === 'before') throw new DatabaseAway(`${name} fails, as planned`)
    const result = await work()
    if (!isMine) return result
    isLost?.(result)
    throw new DatabaseAway(`the reply to ${name} is lost, as planned`)
  }
}

function fragileDatabase(real: Database, attempt: Attempt): Database {
  return {
    engine: real.engine,
    read: (...asked) => attempt('read', () => real.read(...asked)),
    commit: (...asked) => attempt('commit', () => real.commit(...asked)),
    report: (...asked) => real.report(...asked),
    close: () => real.close(),
  }
}

function fragileCoordinator(real: Sabotage['coordinator'], attempt: Attempt, lost: Slot[]): Sabotage['coordinator'] {
  /** Giving back can fail, too. */
  const fragile = (slot: Slot): Slot => ({
    name: slot.name,
    async [Symbol.asyncDispose]() {
      lost.push(slot) // Until it is given back. Giving back twice gives back once.
      await attempt(`giving back ${slot.name.replace(/:.*/, '')}`, async () => slot[Symbol.asyncDispose]())
    },
  })
  return {
    enter: async (...asked) =>
      fragile(
        await attempt(
          'enter',
          () => real.enter(...asked),
          slot => lost.push(slot),
        ),
      ),
    renew: limits => attempt('renew', () => real.renew(limits)),
    async take(limit) {
      const slot = await attempt(
        'take',
        () => real.take(limit),
        taken => void (taken !== undefined && !isOverRate(taken) && lost.push(taken)),
      )
      return slot === undefined || isOverRate(slot) ? slot : fragile(slot)
    },
    async wait(...asked) {
      const turn = await attempt(
        'wait',
        () => real.wait(...asked),
        come => void ('slot' in come && lost.push(come.slot)),
      )
      return 'slot' in turn ? { ...turn, slot: fragile(turn.slot) } : turn
    },
    conditions: ids => attempt('conditions', () => real.conditions(ids)),
    known: real.known,
    change: (...asked) => attempt('change', () => real.change(...asked)),
    session: (...asked) => attempt('session', () => real.session(...asked)),
    bindSession: (...asked) => attempt('bindSession', () => real.bindSession(...asked)),
    spend: meters => attempt('spend', () => real.spend(meters)),
    correct: meters => attempt('correct', () => real.correct(meters)),
    announce: real.announce,
    onAnnounced: real.onAnnounced,
    linesNow: real.linesNow,
  }
}

const hourMs = 3_600_000

function fragileClock(moment: 'early' | 'ahead' | 'behind', { isNth, failed }: Counter): Clock {
  return {
    elapsedMs: systemClock.elapsedMs,
    nowMs() {
      if (moment === 'early') return systemClock.nowMs()
      const isOff = failed() !== undefined || isNth('nowMs')
      return systemClock.nowMs() + (isOff ? (moment === 'ahead' ? hourMs : -hourMs) : 0)
    },
    after: (ms, then) => systemClock.after(moment === 'early' && isNth(`after ${ms} ms`) ? 0 : ms, then),
  }
}
